"""``flanrec instructions list | show | render``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flanrec.cli.instructions import app
from flanrec.errors import FlanrecError, NotFoundError, SettingsError
from flanrec.instructions import FAMILIES, Templates

RUNNER = CliRunner()


def _json(*arguments: str) -> list[dict[str, str]]:
    result = RUNNER.invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    loaded: list[dict[str, str]] = json.loads(result.stdout)
    return loaded


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    events = tmp_path / "events.csv"
    events.write_text("user_id,item_id,timestamp,rating\n7,a,1000000001,5\n7,b,1000000002,4\n", encoding="utf-8")
    items = tmp_path / "items.csv"
    items.write_text("item_id,title,category\na,Alien,Horror\nb,Heat,Crime\n", encoding="utf-8")
    return ["--interactions", str(events), "--items", str(items)]


def test_list_has_every_template_of_a_language() -> None:
    assert [row["id"] for row in _json("list", "--language", "zh")] == [
        template.id for family in FAMILIES for template in Templates.load("zh").of(family, None)
    ]


def test_list_prints_fragments_as_they_are_written() -> None:
    result = RUNNER.invoke(app, ["list", "--family", "wish"], env={"COLUMNS": "400"})
    assert "[[ but no {avoid}]]" in result.stdout


def test_show_finds_a_template_of_any_language() -> None:
    result = RUNNER.invoke(app, ["show", "match.zh.decide"])
    assert "language: zh" in result.stdout
    assert "held_out: false" in result.stdout
    assert isinstance(RUNNER.invoke(app, ["show", "nothing"]).exception, NotFoundError)


def test_render_prints_what_the_model_sees(files: list[str]) -> None:
    result = RUNNER.invoke(app, ["render", *files, "--user", "7", "--template", "sequential.en.in_order"])
    assert result.stdout == (
        "template: sequential.en.in_order\n"
        "prompt:   Chosen so far, oldest first: Alien. Which item comes next?\n"
        "target:   Heat\n"
    )


def test_render_takes_a_users_own_template(files: list[str], tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        'family = "item_tokens"\nlanguage = "en"\n[[templates]]\nid = "own"\nprompt = "One[[ {wish}]] please"\n',
        encoding="utf-8",
    )
    shown = _json(
        "render", *files, "--user", "7", "-f", "item_tokens", "--wish", "jazz",
        "--templates", str(own), "--template", "own",
    )  # fmt: skip
    assert [row["prompt"] for row in shown] == ["One jazz please"]


def test_render_draws_one_by_seed(files: list[str]) -> None:
    arguments = ["render", *files, "--user", "7", "--family", "wish", "--one", "--seed", "5"]
    assert len(_json(*arguments)) == 1
    assert _json(*arguments) == _json(*arguments)


def test_wrong_arguments_are_refused(files: list[str]) -> None:
    assert isinstance(RUNNER.invoke(app, ["render", "--user", "7"]).exception, SettingsError)
    unknown = RUNNER.invoke(app, ["render", *files, "--user", "8"]).exception
    assert isinstance(unknown, FlanrecError)
    assert "user '8' has no interactions" in str(unknown)


def test_the_command_does_not_import_torch() -> None:
    code = "import sys, flanrec.cli.instructions; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
