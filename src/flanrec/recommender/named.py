"""Settings by their dotted names, such as ``tokens.passes``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from flanrec.errors import SettingsError
from flanrec.recommender.settings import RecommenderSettings


def setting_fields(model: type[BaseModel] = RecommenderSettings, path: str = "") -> dict[str, FieldInfo]:
    """Every single setting by its dotted name, in the order of the model.

    Examples
    --------
    >>> "tokens.passes" in setting_fields(), "tokens" in setting_fields()
    (True, False)
    """
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= setting_fields(inner, f"{path}{name}.")
        else:
            found[path + name] = field
    return found


def unknown_setting(name: str) -> str:
    """Words for a name that no single setting has, with those that may have been meant."""
    known = list(setting_fields())
    inside = [one for one in known if one.startswith(f"{name}.")]
    if inside:
        return f"{name} is a group of settings; name one of {', '.join(inside)}"
    same = [one for one in known if one.rpartition(".")[2] == name.rpartition(".")[2]]
    close = list(dict.fromkeys([*same, *difflib.get_close_matches(name, known, n=3, cutoff=0.6)]))[:3]
    return f"there is no setting {name}; the nearest {'are' if len(close) > 1 else 'is'} {', '.join(close)}" if close \
        else f"there is no setting {name}; see flanrec.RecommenderSettings"  # fmt: skip


def value_of(settings: RecommenderSettings, name: str) -> Any:
    """The value of a single setting.

    Raises
    ------
    SettingsError
        There is none of this name.
    """
    if name not in setting_fields():
        raise SettingsError(unknown_setting(name))
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def changed(settings: RecommenderSettings, values: Mapping[str, Any]) -> RecommenderSettings:
    """The settings with single ones replaced, checked as a whole.

    Raises
    ------
    SettingsError
        A name is unknown, or the values cannot work, alone or together.

    Examples
    --------
    >>> changed(RecommenderSettings(), {"tokens.passes": 3}).tokens.passes
    3.0
    """
    try:
        return RecommenderSettings.model_validate(_with(settings, values))
    except ValidationError as problem:
        wrong = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in problem.errors())
        raise SettingsError(f"settings cannot be used: {wrong}") from problem


def refusal(settings: RecommenderSettings, name: str, value: Any) -> str:
    """Why a single setting can never have a value, or nothing; what other settings have to say is not asked."""
    try:
        RecommenderSettings.model_validate(_with(settings, {name: value}))
    except ValidationError as problem:
        place = tuple(name.split("."))
        return "; ".join(error["msg"] for error in problem.errors() if error["loc"][: len(place)] == place)
    return ""


def _with(settings: RecommenderSettings, values: Mapping[str, Any]) -> dict[str, Any]:
    body = settings.model_dump()
    for name, value in values.items():
        value_of(settings, name)
        *groups, last = name.split(".")
        inner = body
        for group in groups:
            inner = inner[group]
        inner[last] = value
    return body
