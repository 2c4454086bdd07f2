"""Which settings a search chooses, from a table of defaults or from a TOML file.

A file has one table a setting::

    [space."tokens.learning_rate"]
    low = 2e-4
    high = 2e-3
    log = true

    [space."words.method"]
    choices = ["full", "lora"]

    [space."words.rank"]
    low = 4
    high = 64
    when = { "words.method" = ["lora"] }    # only with these
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from flanrec.errors import SettingsError
from flanrec.recommender import PRESETS, Reading, RecommenderSettings
from flanrec.recommender.named import refusal, setting_fields, unknown_setting
from flanrec.tuning.space import Choices, Range, Space, ordered

_NEVER = {"seed": "the best of several seeds is luck, and says nothing of the settings"}

_TUNED: dict[str, Range | Choices] = {
    "tokens.learning_rate": Range(2e-4, 2e-3, log=True),
    "tokens.vector_rate": Range(3e-4, 3e-3, log=True),
    "tokens.trust": Range(0.5, 1.0),
    "item_tokens.dropout": Range(0.1, 0.5),
    "words.learning_rate": Range(3e-4, 2e-3, log=True),
    "fusion.depth": Range(50, 300, log=True, whole=True),
}
_LOW_RANK = ("lora", "dora", "rslora")
_WORDS: dict[str, Range | Choices] = {
    "words.method": Choices(("full", *_LOW_RANK, "adapter")),
    "words.learning_rate": Range(2e-4, 1e-2, log=True),
    "words.rank": Range(4, 64, log=True, whole=True, when={"words.method": _LOW_RANK}),
    "words.bottleneck": Range(8, 128, log=True, whole=True, when={"words.method": ("adapter",)}),
    "words.trust": Range(0.5, 1.0),
    # The weights are relative to each other, so that these two move all.
    "words.weights.sequential": Range(0.2, 2.0, log=True),
    "words.weights.match": Range(0.0, 0.5),
}
SPACES: Mapping[str, Space] = MappingProxyType(
    {
        "fast": {"fusion.depth": Range(20, 400, log=True, whole=True), "fusion.rounds": Choices((0, 200))},
        "balanced": {"tokens.passes": Range(3, 12, log=True, whole=True), **_TUNED},
        "best": {"tokens.passes": Range(8, 24, log=True, whole=True), **_TUNED},
    }
)
"""What is chosen by default for the fused reading, by preset."""
_UNREAD: Mapping[Reading, tuple[str, ...]] = MappingProxyType(
    {
        "fused": (),
        "item_tokens": ("fusion.",),
        "generate": ("fusion.", "tokens.", "item_tokens.", "item_index."),
    }
)


def default_space(preset: str, reading: Reading = "fused") -> Space:
    """The small space of a preset, of what a reading depends on.

    Raises
    ------
    SettingsError
        The preset is unknown, or tunes nothing of the language model whose own reading is asked for.
    """
    if preset not in SPACES:
        raise SettingsError(f"preset {preset!r} is not known; use one of {', '.join(PRESETS)}")
    if preset == "fast" and reading != "fused":
        raise SettingsError(f"the preset fast tunes nothing that {reading} reads; take balanced, or give a space")
    if reading == "generate":
        return _WORDS
    return {name: choice for name, choice in SPACES[preset].items() if not name.startswith(_UNREAD[reading])}


def refuse_unread(space: Space, reading: Reading) -> None:
    """Raise SettingsError where a space has settings that make no difference to what is measured."""
    idle = [name for name in space if name.startswith(_UNREAD[reading])]
    if idle:
        raise SettingsError(f"{', '.join(idle)} change nothing for the reading {reading}; leave them out of the space")


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
        By dotted name ``low``, ``high`` and perhaps ``log``, or ``choices``, and perhaps ``when``: by the name of
        another setting of the space, those of its values with which this one is chosen. Groups may also be nested.
    settings
        Where the search starts.
    where
        What the messages begin with.

    Raises
    ------
    SettingsError
        Some names are unknown or not to be chosen, ranges are impossible, or conditions can never be met; what is wrong
        in single settings is named at once.

    Examples
    --------
    >>> space_from({"tokens.passes": {"low": 2, "high": 8}}, RecommenderSettings())
    {'tokens.passes': Range(low=2, high=8, log=False, whole=False, when={})}
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
    try:
        ordered(found)
    except SettingsError as problem:
        raise SettingsError(f"{where}: {problem}") from problem
    return found


def _flat(tables: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Tables by dotted name; one whose entries are tables is a group."""
    for name, given in tables.items():
        if (
            isinstance(given, dict)
            and given.keys() - {"when"}
            and all(isinstance(inner, dict) for inner in given.values())
        ):
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
    if keys - {"when"} != {"choices"} and not {"low", "high"} <= keys <= {"low", "high", "log", "when"}:
        raise SettingsError(
            f"{name} needs low and high, and perhaps log = true, or choices = [...], and perhaps when = {{...}}; "
            "nothing else"
        )
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
    when = given.get("when", {})
    if not isinstance(when, dict) or not all(isinstance(values, list) and values for values in when.values()):
        raise SettingsError(f'{name}: when names other settings with lists, such as {{ "words.method" = ["lora"] }}')
    conditions = {other: tuple(values) for other, values in when.items()}
    try:
        if "choices" in given:
            return Choices(tuple(bounds), conditions)
        return Range(given["low"], given["high"], given.get("log", False), float not in kinds, conditions)
    except SettingsError as problem:
        raise SettingsError(f"{name}: {problem}") from problem
