"""Which settings a search chooses, from a table of defaults or from a TOML file.

A file has one table a setting::

    [space."tokens.learning_rate"]
    low = 2e-4
    high = 2e-3
    log = true

    [space."words.method"]
    choices = ["full", "lora"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from flanrec.errors import SettingsError
from flanrec.recommender import PRESETS, RecommenderSettings
from flanrec.recommender.named import refusal, setting_fields, unknown_setting
from flanrec.tuning.space import Choices, Range, Space

_NEVER = {"seed": "the best of several seeds is luck, and says nothing of the settings"}

_TUNED: dict[str, Range | Choices] = {
    "tokens.learning_rate": Range(2e-4, 2e-3, log=True),
    "tokens.vector_rate": Range(3e-4, 3e-3, log=True),
    "tokens.trust": Range(0.5, 1.0),
    "item_tokens.dropout": Range(0.1, 0.5),
    "words.learning_rate": Range(3e-4, 2e-3, log=True),
    "fusion.depth": Range(50, 300, log=True, whole=True),
}
SPACES: Mapping[str, Space] = MappingProxyType(
    {
        "fast": {"fusion.depth": Range(20, 400, log=True, whole=True), "fusion.rounds": Choices((0, 200))},
        "balanced": {"tokens.passes": Range(3, 12, log=True, whole=True), **_TUNED},
        "best": {"tokens.passes": Range(8, 24, log=True, whole=True), **_TUNED},
    }
)
"""What is chosen by default, by preset."""


def default_space(preset: str) -> Space:
    """The small space of a preset.

    Raises
    ------
    SettingsError
        The preset is unknown.
    """
    if preset not in SPACES:
        raise SettingsError(f"preset {preset!r} is not known; use one of {', '.join(PRESETS)}")
    return SPACES[preset]


def read_space(path: Path, settings: RecommenderSettings) -> Space:
    """The space of a TOML file.

    Raises
    ------
    SettingsError
        As `space_from`; or the file is missing, is no TOML, or has something else than the table ``space``.
    """
    try:
        with path.open("rb") as stream:
            body = tomllib.load(stream)
    except OSError as problem:
        raise SettingsError(f"{path}: the space cannot be read: {problem.strerror}") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingsError(f"{path}: this is not TOML: {problem}") from problem
    tables = body.pop("space", None)
    if body or not isinstance(tables, dict) or not tables:
        raise SettingsError(f'{path}: give tables [space."NAME"] and nothing else, such as [space."tokens.passes"]')
    return space_from(tables, settings, str(path))


def space_from(tables: Mapping[str, Any], settings: RecommenderSettings, where: str = "the space") -> Space:
    """A space from plain values, each name and bound checked against the settings.

    Parameters
    ----------
    tables
        By dotted name ``low``, ``high`` and perhaps ``log``, or ``choices``; groups may also be nested.
    settings
        Where the search starts.
    where
        What the messages begin with.

    Raises
    ------
    SettingsError
        Some names are unknown or not to be chosen, or ranges are impossible; all are named at once.

    Examples
    --------
    >>> space_from({"tokens.passes": {"low": 2, "high": 8}}, RecommenderSettings())
    {'tokens.passes': Range(low=2, high=8, log=False, whole=False)}
    """
    found: dict[str, Range | Choices] = {}
    wrong: list[str] = []
    for name, given in _flat(tables):
        try:
            found[name] = _choice(name, given, settings)
        except SettingsError as problem:
            wrong.append(str(problem))
    if wrong:
        raise SettingsError(f"{where}: {'; '.join(wrong)}")
    return found


def _flat(tables: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Tables by dotted name; one whose entries are tables is a group."""
    for name, given in tables.items():
        if isinstance(given, dict) and given and all(isinstance(inner, dict) for inner in given.values()):
            yield from _flat(given, f"{path}{name}.")
        else:
            yield path + name, given


def _choice(name: str, given: Any, settings: RecommenderSettings) -> Range | Choices:
    if name in _NEVER:
        raise SettingsError(f"{name} cannot be searched: {_NEVER[name]}")
    field = setting_fields().get(name)
    if field is None:
        raise SettingsError(unknown_setting(name))
    keys = set(given) if isinstance(given, dict) else set()
    if keys != {"choices"} and not {"low", "high"} <= keys <= {"low", "high", "log"}:
        raise SettingsError(f"{name} needs low and high, and perhaps log = true, or choices = [...]; nothing else")
    kinds = {field.annotation, *get_args(field.annotation)}
    bounds = given["choices"] if "choices" in given else [given["low"], given["high"]]
    if not isinstance(bounds, list) or not all(isinstance(one, bool | int | float | str) for one in bounds):
        raise SettingsError(f"{name}: only single texts, numbers and true or false can be chosen")
    if "choices" not in given and not (kinds & {int, float} and all(type(one) in (int, float) for one in bounds)):
        raise SettingsError(f"{name} has no range of numbers; give choices = [...]")
    if not isinstance(given.get("log", False), bool):
        raise SettingsError(f"{name}: log is {given['log']!r}; write true or false")
    for one in bounds:
        if problem := refusal(settings, name, one):
            raise SettingsError(f"{name} cannot be {one!r}: {problem}")
    try:
        if "choices" in given:
            return Choices(tuple(bounds))
        return Range(given["low"], given["high"], log=given.get("log", False), whole=float not in kinds)
    except SettingsError as problem:
        raise SettingsError(f"{name}: {problem}") from problem
