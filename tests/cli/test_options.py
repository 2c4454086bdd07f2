"""Groups of options: fields become options, and come back as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from flanrec.cli.options import BadRows, Rows, grouped

Size = Annotated[int, typer.Option("--size", help="How large.")]


@dataclass(frozen=True)
class Box:
    size: Size
    colour: str = "red"


def answers(command: Any, *arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command)
    said = CliRunner().invoke(app, arguments)
    return said.exit_code, said.output


@grouped
def pack(box: Box, rows: Rows, name: str = "gift", big: bool = False) -> None:
    """Pack a box."""
    typer.echo(f"{name} {big} {box} {rows}")


def test_a_group_arrives_as_one_value() -> None:
    code, out = answers(pack, "--size", "3", "--on-bad-rows", "skip", "--rejects", "bad.csv", "--big")
    assert code == 0
    assert out.strip() == f"gift True {Box(3)} {Rows(rejects=Path('bad.csv'), on_bad_rows=BadRows.skip)}"


def test_a_field_without_default_is_needed_and_the_help_words_each_option() -> None:
    assert answers(pack, "--colour", "blue")[0] == 2
    code, out = answers(pack, "--help")
    assert code == 0
    for words in ("Pack a box.", "--size", "How large.", "--colour", "--on-bad-rows", "--name"):
        assert words in out


def test_an_option_that_two_groups_have_is_a_mistake_of_the_command() -> None:
    def twice(box: Box, colour: str = "green") -> None: ...

    with pytest.raises(TypeError, match="twice has the option colour twice"):
        grouped(twice)
