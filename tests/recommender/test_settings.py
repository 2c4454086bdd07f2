from __future__ import annotations

import pytest
from pydantic import ValidationError

from flanrec.errors import SettingsError
from flanrec.recommender import PRESETS, RecommenderSettings, TokenTuning


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name: str) -> None:
    settings = RecommenderSettings.preset(name, seed=3)
    assert settings.seed == 3
    assert RecommenderSettings.model_validate_json(settings.model_dump_json()) == settings


def test_presets_differ_in_what_they_spend() -> None:
    fast, balanced, best = (RecommenderSettings.preset(name) for name in PRESETS)
    assert fast.words.steps == 0 < balanced.words.steps < best.words.steps
    assert fast.tokens.passes < balanced.tokens.passes < best.tokens.passes
    assert best.tokens.refit


def test_a_teacher_and_label_smoothing_exclude_each_other() -> None:
    assert TokenTuning(smoothing=0.1, teacher="none").smoothing == 0.1
    with pytest.raises(ValidationError, match="set teacher to none"):
        TokenTuning(smoothing=0.1)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(SettingsError, match="use one of fast, balanced, best"):
        RecommenderSettings.preset("fastest")
    with pytest.raises(ValidationError, match="sead"):
        RecommenderSettings.preset("fast", sead=3)


@pytest.mark.parametrize(("spoken", "asked"), [(True, "auto"), (False, "never")])
def test_settings_saved_before_are_read(spoken: bool, asked: str) -> None:
    assert RecommenderSettings.model_validate({"fusion": {"spoken": spoken}}).fusion.language_model == asked
