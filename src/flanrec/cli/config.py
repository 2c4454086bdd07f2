"""Where options and settings come from: flags first, then ``FLANREC_*`` of the environment, then a TOML file.

A file has one table a command, whose keys are the command's options, a table ``[settings]`` with the fields of
`RecommenderSettings`, and a table ``[service]`` with those of `flanrec.serving.settings.ServeSettings`::

    [train]
    preset = "best"
    seed = 7

    [settings.words]
    steps = 2000

In the environment the options are ``FLANREC_PRESET`` and so on, and the settings ``FLANREC_WORDS__STEPS``.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from flanrec.recommender import RecommenderSettings

_Model = TypeVar("_Model", bound="BaseModel")
PREFIX = "FLANREC"
SETTINGS = "settings"
SERVICE = "service"
_HAVE_FLAGS = frozenset({"noun", "nouns", "seed", "templates"})


def read_config(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a TOML file.

    Raises
    ------
    SettingsError
        The file is missing, is no TOML, or has a key outside a table.
    """
    try:
        with path.open("rb") as stream:
            body = tomllib.load(stream)
    except OSError as problem:
        raise SettingsError(f"{path}: the settings cannot be read: {problem.strerror}") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingsError(f"{path}: this is not TOML: {problem}") from problem
    loose = [name for name, value in body.items() if not isinstance(value, dict)]
    if loose:
        raise SettingsError(
            f"{path}: {', '.join(loose)} stands outside a table; put options under the command's name, such as "
            f"[train], fields of RecommenderSettings under [{SETTINGS}], and those of ServeSettings under [{SERVICE}]"
        )
    return body


def _take_options(context: typer.Context, path: Path | None) -> Path | None:
    """Make the command's table of the file the defaults of its options."""
    if path is None or context.resilient_parsing:
        return path
    tables = read_config(path)
    command = context.info_name or ""
    known_tables = sorted({*getattr(context.find_root().command, "commands", {command: None}), SETTINGS, SERVICE})
    strange = [name for name in tables if name not in known_tables]
    if strange:
        raise SettingsError(f"{path}: no command is called {', '.join(strange)}; tables are {', '.join(known_tables)}")
    names: dict[str, str] = {}
    for parameter in context.command.params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            if option.startswith("--") and parameter.name not in (None, "config", "help"):
                names[option.removeprefix("--").replace("-", "_")] = str(parameter.name)
    given = {key.replace("-", "_"): value for key, value in tables.get(command, {}).items()}
    strange = [key for key in given if key not in names]
    if strange:
        raise SettingsError(
            f"{path}: [{command}] has no option {', '.join(strange)}; the options are {', '.join(sorted(names))}"
        )
    context.default_map = {**(context.default_map or {}), **{names[key]: value for key, value in given.items()}}
    return path


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="TOML file with options and settings; flags and FLANREC_* come first.",
        is_eager=True, callback=_take_options,
    ),
]  # fmt: skip


def build_settings(
    preset: str,
    config: Path | None,
    flags: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    *,
    base: RecommenderSettings | None = None,
) -> RecommenderSettings:
    """Settings of a preset, changed by a file, then the environment, then flags.

    Parameters
    ----------
    base
        Settings to begin with in place of the preset's.
    flags
        Nested fields; None means that a flag was not given.

    Raises
    ------
    SettingsError
        A name is not known (all such names, with those that are known), or a value cannot work.
    """
    from flanrec.recommender import RecommenderSettings

    start = RecommenderSettings.preset(preset) if base is None else base
    return layered(start, SETTINGS, config, flags, environment)


def layered(
    start: _Model,
    table: str,
    config: Path | None,
    flags: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
) -> _Model:
    """Settings changed by a table of a file, then the environment, then flags.

    Raises
    ------
    SettingsError
        As `build_settings`.
    """
    model, body = type(start), start.model_dump()
    if config is not None:
        written = read_config(config).get(table, {})
        _refuse_unknown(written, model, f"{config}, [{table}]")
        _merge(body, written)
    for variable, change in _of_environment(model, os.environ if environment is None else environment):
        _refuse_unknown(change, model, f"environment variable {variable}")
        _merge(body, change)
    _merge(body, given_alone(flags))
    return validated(model, body)


def validated(model: type[_Model], body: Mapping[str, Any]) -> _Model:
    """Settings from their fields by name.

    Raises
    ------
    SettingsError
        A value cannot work; all such values are named.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(body)
    except ValidationError as problem:
        wrong = "; ".join(
            f"{'.'.join(map(str, error['loc']))} is {error['input']!r}: {error['msg']}" for error in problem.errors()
        )
        raise SettingsError(f"settings cannot be used: {wrong}") from problem


def _refuse_unknown(given: Mapping[str, Any], model: type[BaseModel], where: str) -> None:
    wrong = list(_unknown(given, model, ""))
    if wrong:
        raise SettingsError(f"{where}: " + "; ".join(wrong))


def _unknown(given: Mapping[str, Any], model: Any, path: str) -> Iterator[str]:
    for name, value in given.items():
        if name not in model.model_fields:
            known = ", ".join(path + field for field in model.model_fields)
            yield f"there is no setting {path}{name}; known are {known}"
            continue
        inner = model.model_fields[name].annotation
        if isinstance(value, Mapping) and hasattr(inner, "model_fields"):
            yield from _unknown(value, inner, f"{path}{name}.")


def _of_environment(model: type[BaseModel], environment: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each variable that names a setting without a flag of its own, with the change it asks for."""
    for variable, text in sorted(environment.items()):
        names = variable.removeprefix(f"{PREFIX}_").lower().split("__")
        if not variable.startswith(f"{PREFIX}_") or names[0] not in model.model_fields or names[0] in _HAVE_FLAGS:
            continue
        change: Any = _value(text)
        for name in reversed(names):
            change = {name: change}
        yield variable, change


def _value(text: str) -> Any:
    """JSON where it is JSON, such as numbers, lists, true and null; else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _merge(body: dict[str, Any], change: Mapping[str, Any]) -> None:
    for name, value in change.items():
        if isinstance(value, Mapping) and isinstance(body.get(name), dict):
            _merge(body[name], value)
        else:
            body[name] = value


def given_alone(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Nested fields without those that are None: flags that were not given."""
    kept = {name: given_alone(value) if isinstance(value, Mapping) else value for name, value in flags.items()}
    return {name: value for name, value in kept.items() if value is not None and value != {}}
