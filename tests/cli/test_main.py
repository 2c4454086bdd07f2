"""The command as a whole: exit codes, where words go, and what it does not load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import flanrec as package
from flanrec.cli import main as module

if TYPE_CHECKING:
    from conftest import Flanrec, Trained

COMMANDS = [
    *("compare", "data", "demo", "doctor", "evaluate", "explain", "instructions", "match", "rank-new", "recommend"),
    *("search", "train"),
]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    surroundings = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1]), **environment}
    return subprocess.run([sys.executable, "-c", code], env=surroundings, capture_output=True, text=True, timeout=60)


def test_help_of_no_command_loads_a_model_library() -> None:
    code = (
        "import sys; from flanrec.cli.main import main\n"
        f"codes = [main([*name.split(), '--help']) for name in {['', *COMMANDS]!r}]\n"
        "print(codes, [name for name in ('torch', 'transformers', 'peft') if name in sys.modules], file=sys.stderr)"
    )
    done = python(code)
    assert done.stderr.strip() == f"{[0] * (len(COMMANDS) + 1)} []"
    assert all(name in done.stdout for name in COMMANDS)


def test_version(flanrec: Flanrec) -> None:
    assert flanrec("version").out == f"flanrec {package.__version__}\n"
    assert flanrec("--version").out == f"flanrec {package.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["recommend"],
        ["recommend", "--model", "absent", "--user", "1"],
        ["train", "--out", "m", "--interactions", "absent.csv", "--items", "absent.csv"],
        ["train", "--out", "m", "--preset", "huge"],
        ["recommend", "--model", "absent", "--user", "1", "--k", "0"],
        ["evaluate", "--model", "absent", "--test", "absent.csv"],
        ["search", "--out", "m", "--minutes", "1", "--interactions", "absent.csv", "--items", "absent.csv"],
    ],
)
def test_wrong_usage_and_missing_files_end_with_2(flanrec: Flanrec, arguments: list[str]) -> None:
    said = flanrec(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert said.err
    assert "Traceback" not in said.err


def test_what_a_file_holds_does_not_steer_the_terminal(flanrec: Flanrec, tmp_path: Path) -> None:
    odd = tmp_path / "odd.csv"
    odd.write_text("用户\x1b[2J\x07,price\n1,2\n", encoding="utf-8")
    said = flanrec("train", "--out", tmp_path / "m", "--interactions", odd, "--items", odd)
    assert said.code == 2
    assert "用户\\x1b[2J\\x07, price" in said.err
    assert "\x1b" not in said.err.replace("\\x1b", "")


def test_a_defect_ends_with_3_in_one_line(flanrec: Flanrec, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("the\nroof fell")

    monkeypatch.setattr(module, "get_command", lambda app: _command(broken))
    said = flanrec()
    assert said.code == 3
    assert said.err.startswith("flanrec: RuntimeError: the roof fell (")
    assert said.err.count("\n") == 1


def test_debug_shows_the_traceback(flanrec: Flanrec, tmp_path: Path) -> None:
    said = flanrec("--debug", "recommend", "--model", tmp_path / "absent", "--user", "1")
    assert said.code == 2
    assert "Traceback" in said.err


def test_ctrl_c_ends_with_130(flanrec: Flanrec, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "get_command", lambda app: _command(interrupted))
    said = flanrec()
    assert said.code == 130
    assert "Traceback" not in said.err


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = (
        "import os, sys; from flanrec.cli.main import main\n"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        "sys.exit(main(['instructions', 'list', '--json']))"
    )
    done = python(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_logs_can_be_silenced(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    command = ["recommend", "--model", trained.model, "--user", "3", "--out", tmp_path / "recs.csv"]
    assert "rows written" in flanrec(*command).err
    assert flanrec("--quiet", *command).err == ""


def _command(body: object) -> object:
    from typer import Typer
    from typer.main import get_command

    app = Typer()
    app.command()(body)  # type: ignore[type-var]
    return get_command(app)
