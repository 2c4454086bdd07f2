"""Settings as the TOML that ``flanrec train --config`` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from flanrec.recommender import RecommenderSettings


def settings_toml(
    preset: str, settings: RecommenderSettings, options: Mapping[str, Any] | None = None, always: Iterable[str] = ()
) -> str:
    """A file for ``--config``: the preset, further options of train, and each setting that differs from the preset's.

    Parameters
    ----------
    options
        Of ``flanrec train`` beside the preset; those that are None are left out.
    always
        Settings that are written also where they are the preset's, unless they are None there.

    Raises
    ------
    SettingsError
        A setting that must be written is None, which TOML cannot say.
    """
    from flanrec.recommender import RecommenderSettings
    from flanrec.recommender.named import setting_fields, value_of

    usual, wanted = RecommenderSettings.preset(preset), set(always)
    tables: dict[str, dict[str, Any]] = {"train": {"preset": preset, **(options or {})}}
    for name in setting_fields():
        value = value_of(settings, name)
        if value == value_of(usual, name) and (name not in wanted or value is None):
            continue
        if value is None:
            raise SettingsError(f"{name} is none, which a TOML file cannot say; give it a value")
        group, _, last = f"settings.{name}".rpartition(".")
        tables.setdefault(group, {})[last] = value
    return "\n".join(
        f"[{table}]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in entries.items() if value is not None)
        for table, entries in tables.items()
    )


def _toml(value: Any) -> str:
    """A value as TOML writes it.

    >>> _toml(True), _toml(1e-05), _toml('a "b"'), _toml(("en", "zh"))
    ('true', '1e-05', '"a \\\\"b\\\\""', '["en", "zh"]')
    """
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value) if isinstance(value, bool) else repr(value)
