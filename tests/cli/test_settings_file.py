"""The file that train reads says the same settings."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from flanrec.cli.config import build_settings
from flanrec.cli.settings_file import settings_toml
from flanrec.errors import SettingsError
from flanrec.recommender import RecommenderSettings
from flanrec.recommender.named import changed

CHANGES = {
    "noun": 'a "book"\\',
    "languages": ("zh", "en"),
    "seed": 7,
    "tokens.learning_rate": 1e-05,
    "tokens.refit": True,
    "words.method": "lora",
    "words.weights.match": 0.5,
    "item_tokens.layers": 2,
    "fusion.depth": 31,
}


@pytest.mark.parametrize("preset", ["fast", "balanced", "best"])
def test_what_is_written_reads_back_the_same(tmp_path: Path, preset: str) -> None:
    settings = changed(RecommenderSettings.preset(preset), CHANGES)
    file = tmp_path / "best.toml"
    file.write_text(settings_toml(preset, settings, {"backbone": "offline", "revision": None}), encoding="utf-8")
    assert build_settings(preset, file, {}, {}) == settings
    assert tomllib.loads(file.read_text(encoding="utf-8"))["train"] == {"preset": preset, "backbone": "offline"}


def test_only_what_differs_is_written_and_what_is_always_wanted() -> None:
    plain = RecommenderSettings()
    assert settings_toml("balanced", plain) == '[train]\npreset = "balanced"\n'
    always = ["fusion.depth", "words.patience"]
    assert tomllib.loads(settings_toml("balanced", plain, always=always))["settings"] == {
        "fusion": {"depth": plain.fusion.depth}
    }


def test_a_setting_that_toml_cannot_say_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"tokens\.patience is none"):
        settings_toml("balanced", changed(RecommenderSettings(), {"tokens.patience": None}))
