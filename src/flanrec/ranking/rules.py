"""The sections of a policy file, and how its mistakes are told."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flanrec.errors import SettingsError


class Rules(BaseModel):
    """A part of a policy: unknown keys are refused, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Block(Rules):
    """What is never shown."""

    items: tuple[str | int, ...] = ()
    """Item ids."""
    categories: tuple[str, ...] = ()
    """Categories of which one is enough to be blocked."""


class Quota(Rules):
    """How many items of a group a list has."""

    min: int = Field(default=0, ge=0)
    """At least so many, as far as the candidates allow."""
    max: int | None = Field(default=None, ge=0)
    """Never more; the list rather stays shorter."""

    @model_validator(mode="after")
    def _ordered(self) -> Quota:
        if self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class Diversity(Rules):
    """Lists of items that differ."""

    method: Literal["mmr", "dpp"] = "mmr"
    """mmr looks at the most similar item in the list, dpp at all of them together."""
    balance: float = Field(default=0.3, ge=0, le=1)
    """0 is the plain order, 1 is difference only."""


class LongTail(Rules):
    """Room for items outside the head, the smallest set of items with 80 % of the events."""

    share: float = Field(ge=0, le=1)
    """Least share of the list, rounded up to whole items."""


class Freshness(Rules):
    """A bonus that fades with age."""

    half_life_days: float = Field(gt=0)
    """After so many days half of the bonus is left."""
    weight: float = Field(default=0.5, ge=0)
    """Bonus of a brand-new item, in standard deviations of the user's scores."""
    by: Literal["first_seen", "year"] = "first_seen"
    """Age since an item's first event, or since the first of January of its year."""


class Taste(Rules):
    """Categories in the proportions of the user's history."""

    weight: float = Field(default=0.3, ge=0, le=1)
    """0 is the plain order, 1 is the proportions only."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file, or raise `SettingsError` that says why it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise SettingsError(f"{path}: the policy cannot be read: {problem.strerror}; check the path") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingsError(f"{path}: this is not TOML: {problem}; mend the line it names") from problem


def explain(problem: ValidationError, model: type[BaseModel], source: str) -> SettingsError:
    """Return all mistakes of a policy at once: file, key, what is wrong, and the keys that are known there."""
    lines = []
    for error in problem.errors():
        place = [str(part) for part in error["loc"]]
        if error["type"] == "extra_forbidden":
            known = ", ".join(_keys(model, place[:-1]))
            lines.append(f"{'.'.join(place)} is not known; known here are {known}")
        elif error["type"] == "missing":
            lines.append(f"{'.'.join(place)} is missing; add it")
        else:
            lines.append(f"{'.'.join(place) or 'policy'} is {_short(error['input'])}: {error['msg']}")
    return SettingsError(f"{source}: " + "; ".join(lines))


def _keys(model: type[BaseModel], place: Iterable[str]) -> list[str]:
    here: Any = model
    for part in place:
        if isinstance(here, type) and issubclass(here, BaseModel):
            here = here.model_fields[part].annotation if part in here.model_fields else None
        elif get_args(here):
            here = get_args(here)[-1]
        models = [one for one in get_args(here) if isinstance(one, type) and issubclass(one, BaseModel)]
        if models and not _is_mapping(here):
            here = models[0]
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []


def _is_mapping(annotation: Any) -> bool:
    origin = getattr(annotation, "__origin__", None)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
