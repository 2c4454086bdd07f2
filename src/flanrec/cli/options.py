"""The options that several commands have, each worded once, and the groups they come in.

A command takes a group as one parameter, and `grouped` lets typer see its fields as options of the command::

    @app.command()
    @grouped
    def describe(source: Source, rows: Rows, as_json: JsonOption = False) -> None: ...
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from flanrec.cli.common import load_model
from flanrec.cli.config import ConfigOption, build_settings
from flanrec.data import Dataset, load_dataset
from flanrec.data.addresses import TableAddress
from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from flanrec.recommender import Recommender, RecommenderSettings


class BadRows(StrEnum):
    """What to do with rows that are not usable."""

    stop = "raise"
    skip = "skip"


class ReadingName(StrEnum):
    """How to read the tuned model."""

    fused = "fused"
    item_tokens = "item_tokens"
    generate = "generate"


class Preset(StrEnum):
    """How much to tune."""

    fast = "fast"
    balanced = "balanced"
    best = "best"


def table_option(name: str, words: str) -> Any:
    """An option that names a table: a file, or a ``postgresql://`` address."""
    return typer.Option(name, parser=TableAddress.parse, metavar="TABLE", help=words)


DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, mps, or auto.")]
ModelOption = Annotated[Path, typer.Option("--model", help="Folder that flanrec train wrote.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Write to this .csv, .tsv, .jsonl or .parquet file.")]
ReviewsOption = Annotated[TableAddress | None, table_option("--reviews", "Reviews: user, item, text.")]
HistoriesOption = Annotated[
    TableAddress | None, table_option("--histories", "Interactions that are the users' histories, alone.")
]
RejectsOption = Annotated[Path | None, typer.Option("--rejects", help="Write unusable rows to this CSV file.")]
WishOption = Annotated[str, typer.Option("--wish", help="What is wanted, in plain words.")]
AvoidOption = Annotated[str, typer.Option("--avoid", help="What is not wanted, in plain words.")]


@dataclass(frozen=True)
class Rows:
    """What becomes of rows that are not usable."""

    on_bad_rows: Annotated[BadRows, typer.Option("--on-bad-rows", help="Refuse unusable rows, or leave them out.")] = (
        BadRows.stop
    )
    rejects: RejectsOption = None

    @property
    def policy(self) -> Literal["raise", "skip"]:
        """As `Dataset.from_files` takes it."""
        return "skip" if self.on_bad_rows is BadRows.skip else "raise"


@dataclass(frozen=True)
class Source:
    """Where a data set comes from."""

    data: Annotated[str | None, typer.Option("--data", help="A public data set, such as ml-100k.")] = None
    interactions: Annotated[
        TableAddress | None,
        table_option("--interactions", "Interactions: csv, tsv, parquet, jsonl or atomic file, or postgresql://..."),
    ] = None
    items: Annotated[TableAddress | None, table_option("--items", "Items with title, text, category.")] = None
    users: Annotated[TableAddress | None, table_option("--users", "Users with their attributes.")] = None

    def load(self, rows: Rows, reviews: TableAddress | None = None) -> Dataset:
        """The data set that the options name.

        Raises
        ------
        SettingsError
            Neither ``--data`` nor both of ``--interactions`` and ``--items`` are given, or all of them are.
        """
        if self.data is not None:
            if any(table is not None for table in (self.interactions, self.items, self.users, reviews)):
                raise SettingsError(
                    "--data names a whole data set: leave out --interactions, --items, --users and --reviews."
                )
            return load_dataset(self.data)
        if self.interactions is None or self.items is None:
            raise SettingsError("name the data: --data ml-100k, or both --interactions TABLE and --items TABLE.")
        return Dataset.from_files(
            self.interactions, self.items, self.users, reviews, on_bad_rows=rows.policy, rejects=rows.rejects
        )


@dataclass(frozen=True)
class Start:
    """Which T5 is tuned, how much, and in which words."""

    preset: Annotated[Preset, typer.Option(help="How much to tune.")] = Preset.balanced
    backbone: Annotated[
        str | None, typer.Option(help="T5 checkpoint: hub id, folder, or offline. By default Flan-T5 small.")
    ] = None
    revision: Annotated[str | None, typer.Option(help="Revision of the checkpoint on the hub.")] = None
    seed: Annotated[int | None, typer.Option(min=0, help="Decides every draw.")] = None
    language: Annotated[
        list[str] | None, typer.Option("--language", help="Language of the instructions. Repeatable.")
    ] = None
    templates: Annotated[
        list[Path] | None, typer.Option("--templates", help="File or folder of further templates. Repeatable.")
    ] = None
    noun: Annotated[str | None, typer.Option(help="What one item is called, such as movie.")] = None
    nouns: Annotated[str | None, typer.Option(help="What several items are called.")] = None

    def settings(self, config: Path | None, **flags: Any) -> RecommenderSettings:
        """The preset's settings, changed as `build_settings` says; `flags` are nested fields of further options."""
        return build_settings(
            self.preset,
            config,
            {
                "languages": tuple(self.language) if self.language else None,
                "templates": tuple(str(path.resolve()) for path in self.templates) if self.templates else None,
                "noun": self.noun,
                "nouns": self.nouns,
                "seed": self.seed,
                **flags,
            },
        )


EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="What spells titles and answers yes or no: torch, int8 (item tokens too), or a folder of flanrec export.",
    ),
]


@dataclass(frozen=True)
class Saved:
    """A saved recommender, and how the command that asks it runs."""

    model: ModelOption
    device: DeviceOption = "auto"
    engine: EngineOption = "torch"
    config: ConfigOption = None
    as_json: JsonOption = False

    def load(self) -> Recommender:
        """The recommender, or `CheckpointError` where the folder holds none."""
        recommender = load_model(self.model, self.device)
        recommender.use_engine(self.engine)
        return recommender


@dataclass(frozen=True)
class Lists:
    """For which stored users lists are made, of what, and where they go."""

    users_file: Annotated[Path | None, typer.Option("--users-file", help="File with one user_id a line.")] = None
    user: Annotated[list[str] | None, typer.Option("--user", help="A user id. Repeatable.")] = None
    k: Annotated[int, typer.Option("--k", min=1, help="Items a user.")] = 10
    out: OutOption = None
    wish: WishOption = ""
    avoid: AvoidOption = ""


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a command whose type is a dataclass by the dataclass's fields."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[Any]] = {
        name: kind for name, kind in hints.items() if isinstance(kind, type) and dataclasses.is_dataclass(kind)
    }
    options: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        group = groups.get(name)
        kinds = hints if group is None else get_type_hints(group, include_extras=True)
        for option in (parameter,) if group is None else inspect.signature(group).parameters.values():
            if option.name in options:
                raise TypeError(f"{command.__name__} has the option {option.name} twice")
            options[option.name] = option.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kinds[option.name])

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in dataclasses.fields(kind)})
        command(**given)

    run.__signature__ = inspect.Signature(list(options.values()))  # type: ignore[attr-defined]
    run.__annotations__ = {name: option.annotation for name, option in options.items()}
    return run
