"""SECURITY.md says what is so: every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_line_of_the_threat_model_names_a_test_that_is_there() -> None:
    lines = (ROOT / "SECURITY.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith(("| attack", "|---"))]
    assert len(rows) > 60
    for row in rows:
        named = re.findall(r"`([\w/.]*)::(test_\w+)`", row)
        assert named, row
        path = ""
        for file, test in named:
            path = file or path
            assert re.search(rf"^def {test}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), (path, test)
