"""The command ``flanrec``. Only what a command needs is imported, when it runs."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from dataclasses import dataclass
from typing import Annotated, TextIO

import typer
from typer.main import get_command

import flanrec
from flanrec.cli import data, instructions
from flanrec.cli.ask_next import ask_next
from flanrec.cli.batch import batch
from flanrec.cli.compare import compare
from flanrec.cli.config import PREFIX
from flanrec.cli.demo import demo
from flanrec.cli.distill import distill
from flanrec.cli.doctor import doctor
from flanrec.cli.evaluate import evaluate
from flanrec.cli.explain import explain
from flanrec.cli.export import export
from flanrec.cli.find_rate import find_rate
from flanrec.cli.label import label
from flanrec.cli.match import match
from flanrec.cli.rank_new import rank_new
from flanrec.cli.recommend import recommend
from flanrec.cli.search import search
from flanrec.cli.serve import serve
from flanrec.cli.stores import keys, stores
from flanrec.cli.train import train
from flanrec.cli.update import update
from flanrec.errors import FlanrecError

DONE, MENDABLE, FAILED, INTERRUPTED = 0, 2, 3, 130
"""Exit codes: done; wrong usage or bad input; failed; interrupted."""

app = typer.Typer(
    name="flanrec",
    help="An instruction-tuned Flan-T5 recommender: tune it on a log, and ask it.",
    no_args_is_help=True,
    add_completion=False,
)
app.add_typer(data.app, name="data", help="Fetch, describe, validate, convert and split data.")
app.add_typer(instructions.app, name="instructions")
app.add_typer(stores, name="store")
app.add_typer(keys, name="keys")
for _name, _command in (
    ("demo", demo),
    ("train", train),
    ("update", update),
    ("distill", distill),
    ("find-rate", find_rate),
    ("search", search),
    ("evaluate", evaluate),
    ("compare", compare),
    ("recommend", recommend),
    ("batch", batch),
    ("match", match),
    ("label", label),
    ("ask-next", ask_next),
    ("rank-new", rank_new),
    ("explain", explain),
    ("export", export),
    ("serve", serve),
    ("doctor", doctor),
):
    app.command(_name, context_settings={"auto_envvar_prefix": PREFIX})(_command)


@dataclass
class _Run:
    """What one call of `main` was asked beside its command."""

    debug: bool = False


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"flanrec {flanrec.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", envvar=f"{PREFIX}_DEBUG", help="Print the traceback of every error.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings only.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.ensure_object(_Run).debug = debug
    logging.getLogger("flanrec").setLevel(logging.WARNING if quiet else logging.INFO)


@app.command("version")
def version_command() -> None:
    """Print the version."""
    _print_version(True)


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    argv
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        0 done; 2 wrong usage, bad input or a missing file; 3 failed by a defect or by the machine;
        130 interrupted.
    """
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    log = logging.getLogger("flanrec")
    level = log.level
    log.addHandler(handler)
    try:
        return _close_stdout(_invoke(argv))
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _invoke(argv: list[str] | None) -> int:
    run = _Run()
    try:
        get_command(app).main(args=argv, prog_name="flanrec", obj=run)
    except SystemExit as end:
        # 1 is only said where the reader of stdout went away, as in `flanrec ... | head`.
        return end.code if isinstance(end.code, int) and end.code != 1 else DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return DONE
    except FlanrecError as problem:
        return _tell(run, str(problem), problem.exit_code)
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as problem:
        return _tell(run, f"{problem.filename}: {problem.strerror}", MENDABLE)
    except Exception as problem:
        words = " ".join(f"{type(problem).__name__}: {problem}".split())
        return _tell(run, f"{words} (run flanrec --debug ... for the traceback, and please report it)", FAILED)
    return DONE


def _tell(run: _Run, message: str, code: int) -> int:
    if run.debug:
        traceback.print_exc()
    typer.echo(f"flanrec: {_visible(message)}", err=True)
    return code


def _close_stdout(code: int) -> int:
    """Flush what was printed; a reader that went away is no error, now or when the process ends."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Logs to what is stderr at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _visible(message: str) -> str:
    """A message whose control characters are escaped: it may quote a file, which shall not steer the terminal."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode()
        for letter in message
    )
