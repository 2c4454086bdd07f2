"""Few-shot prompts in use: who asks for them, and what they change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from flanrec.backbone import Backbone
from flanrec.data import Dataset
from flanrec.errors import SettingsError
from flanrec.recommender import Asking, Recommender, RecommenderSettings
from flanrec.recommender.readings import WordReading


def with_shots(fitted: Recommender, shots: int) -> Recommender:
    """The same recommender with other settings."""
    other = Recommender(fitted.backbone, fitted.settings.model_copy(update={"shots": shots}))
    other.adopt(fitted.parts)
    return other


def test_a_request_or_the_settings_say_how_many_examples(fitted: Recommender) -> None:
    persons = fitted.people(["u3", "stranger"])
    plain = fitted.word_reading.prompts(persons)
    asked = fitted.word_reading.prompts(persons, Asking(shots=2))
    assert asked == with_shots(fitted, 2).word_reading.prompts(persons)
    assert plain == with_shots(fitted, 2).word_reading.prompts(persons, Asking(shots=0))
    for question, prompt in zip(plain, asked, strict=True):
        assert prompt.endswith(f"Question: {question} Answer:")
        assert prompt.count("Answer:") == 3
        assert fitted.backbone.token_count(prompt) <= fitted.settings.shot_tokens


def test_generation_and_match_answer_after_examples(fitted: Recommender) -> None:
    shown = with_shots(fitted, 2)
    plain, asked = (one.recommend(["u3", "u5"], k=3, reading="generate") for one in (fitted, shown))
    assert asked.height == plain.height == 6
    assert not asked["score"].equals(plain["score"])
    pairs = pl.DataFrame({"user_id": ["u3", "u5", "stranger"], "item_id": ["i1", "i2", "i3"]})
    persons, items = [fitted.people([user])[0] for user in pairs["user_id"]], [1, 2, 3]
    assert all(prompt.count("Answer:") == 3 for prompt in shown.match_reading.prompts(persons, items))
    assert shown.match(pairs)["probability"].is_between(0, 1).all()


def test_an_answer_is_the_same_in_any_company(fitted: Recommender) -> None:
    reading = with_shots(fitted, 2).word_reading
    alone, together = reading.prompts(fitted.people(["u5"])), reading.prompts(fitted.people(["u3", "u5", "u9"]))
    assert together[1] == alone[0]


def test_examples_without_anybody_to_take_them_of_are_refused(fitted: Recommender) -> None:
    reading = WordReading(fitted.engine, fitted.parts.prompter, 4)
    with pytest.raises(SettingsError, match="2 solved examples are asked for, but nobody"):
        reading.prompts(fitted.people(["u3"]), Asking(shots=2))


def test_an_untuned_t5_has_a_say_in_match_only_after_examples(
    backbone: Backbone, small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flanrec.data.splits import hold_out_last
    from flanrec.recommender.calibration import Calibration
    from flanrec.recommender.fitting import _material
    from flanrec.recommender.stages import calibrate

    heard: list[np.ndarray] = []

    def noted(rule: np.ndarray, words: np.ndarray, liked: np.ndarray) -> Calibration:
        heard.append(words)
        return Calibration()

    monkeypatch.setattr(Calibration, "chosen", noted)
    train, later = hold_out_last(small_dataset)
    settings = RecommenderSettings.preset("fast", noun="movie", nouns="movies", validation_users=12)
    for shots in (0, 1):
        asked = settings.model_copy(update={"shots": shots})
        calibration = calibrate(backbone, _material(backbone, asked, train, later, {}))
        assert (calibration.words != 0) == bool(shots)
    assert len(heard) == 1
    assert np.unique(heard[0]).size > 1


def test_settings_of_folders_saved_before_ask_for_none() -> None:
    body = RecommenderSettings().model_dump()
    before = {name: value for name, value in body.items() if not name.startswith("shot")}
    assert RecommenderSettings.model_validate(before).shots == 0
    assert replace(Asking(wish="x", shots=2), wish="").shots == Asking(wish="x", shots=2).plain.shots == 2
