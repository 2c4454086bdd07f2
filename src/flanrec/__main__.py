"""``python -m flanrec`` is the command ``flanrec``."""

from flanrec.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
