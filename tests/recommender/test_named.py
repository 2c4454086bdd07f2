"""Settings by dotted names."""

from __future__ import annotations

import pytest

from flanrec.errors import SettingsError
from flanrec.recommender import RecommenderSettings
from flanrec.recommender.named import changed, refusal, setting_fields, unknown_setting, value_of

PLAIN = RecommenderSettings()


def test_every_setting_has_a_name_and_can_be_read_and_put_back() -> None:
    names = list(setting_fields())
    assert {"seed", "tokens.passes", "words.weights.match", "fusion.depth", "item_tokens.layers"} <= set(names)
    assert not {"words", "words.weights"} & set(names)
    for preset in ("fast", "balanced", "best"):
        settings = RecommenderSettings.preset(preset)
        assert changed(PLAIN, {name: value_of(settings, name) for name in names}) == settings


def test_a_change_leaves_the_rest_as_it_is() -> None:
    start = RecommenderSettings.preset("best", noun="book")
    other = changed(start, {"words.weights.match": 0.5, "fusion.depth": 7})
    assert (other.words.weights.match, other.fusion.depth) == (0.5, 7)
    assert changed(other, {"words.weights.match": 0.25, "fusion.depth": start.fusion.depth}) == start


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tokens.pases", "tokens.passes"),
        ("learning_rate", "the nearest are words.learning_rate, tokens.learning_rate"),
        ("fusion", "fusion is a group of settings; name one of fusion.depth"),
        ("zzzzzz", "there is no setting zzzzzz; see flanrec.RecommenderSettings"),
    ],
)
def test_a_wrong_name_is_told_what_may_have_been_meant(name: str, words: str) -> None:
    assert words in unknown_setting(name)
    for ask in (lambda: value_of(PLAIN, name), lambda: changed(PLAIN, {name: 1})):
        with pytest.raises(SettingsError, match=words):
            ask()


def test_values_that_cannot_work_together_are_refused_together_only() -> None:
    assert "greater than 0" in refusal(PLAIN, "tokens.learning_rate", 0.0)
    assert refusal(PLAIN, "tokens.smoothing", 0.1) == ""
    with pytest.raises(SettingsError, match="a teacher smooths already"):
        changed(PLAIN, {"tokens.smoothing": 0.1})
    assert changed(PLAIN, {"tokens.smoothing": 0.1, "tokens.teacher": "none"}).tokens.smoothing == 0.1
