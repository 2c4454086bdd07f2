from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from flanrec.catalogue.people import Person
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.errors import DataError
from flanrec.evaluation.robustness import HELD_OUT, TYPOS, RobustnessReport, measure_robustness, mistyped
from flanrec.metrics import auc
from flanrec.recommender import Asking, Calibration, Recommender
from flanrec.recommender.readings import MatchReading

READINGS = ("generate", "item tokens", "item tokens with a wish", "match")


@pytest.fixture(scope="module")
def test_part(small_dataset: Dataset) -> Dataset:
    return hold_out_last(small_dataset)[1]


@pytest.fixture(scope="module")
def fitted_on_train(fitted: Recommender, small_dataset: Dataset) -> Recommender:
    """The fitted recommender, when it does not know the last events."""
    train, _ = hold_out_last(small_dataset)
    recommender = Recommender(fitted.backbone, fitted.settings)
    recommender.adopt(replace(fitted.parts, dataset=train))
    return recommender


class Fragile(Recommender):
    """Knows what comes next in clean words; under typos puts one item before it, under unseen templates three."""

    def __init__(self, fitted: Recommender) -> None:
        super().__init__(fitted.backbone, fitted.settings)
        self.adopt(fitted.parts)
        self.asked: list[Asking] = []

    def rank(self, persons: Sequence[Person], k: int, asking: Any = Asking(), **more: Any) -> Any:  # noqa: B008
        self.asked += asking
        rows = []
        for person, one in zip(persons, asking, strict=True):
            right = (int(person.items[-1]) + 1) % 28  # everybody walks the circle
            others = [item for item in range(30) if item != right]
            place = 3 if one.held_out else int(one.rewrite is not None)
            rows.append([*others[:place], right, *others[place:]][:k])
        return np.array(rows), np.zeros((len(rows), k), dtype=np.float32)


def test_a_drop_is_the_share_that_is_lost_with_the_same_users(
    fitted_on_train: Recommender, unrated_dataset: Dataset
) -> None:
    recommender, rounds = Fragile(fitted_on_train), list[int]()
    report = measure_robustness(recommender, hold_out_last(unrated_dataset)[1], progress=rounds.append, seed=7)
    # Without ratings nothing tells what is a match.
    assert [(one.reading, one.condition) for one in report.drops] == [
        (reading, condition) for reading in READINGS[:3] for condition in (TYPOS, HELD_OUT)
    ]
    assert rounds == [1] * 9
    for reading in READINGS[:3]:
        for condition, expected in ((TYPOS, 1 - 1 / np.log2(3)), (HELD_OUT, 1 - 1 / np.log2(5))):
            one = report.of(reading, condition)
            assert (one.clean, one.count, one.metric) == (1.0, 40, "ndcg@10")
            assert one.changed == pytest.approx(1 - expected)
            # All users lose the same, so every draw of users does.
            assert (one.drop, one.low, one.high) == pytest.approx((expected, expected, expected))
    assert {one.seed for one in recommender.asked} == {7}
    wished = [one for one in recommender.asked if one.wish]
    assert len(wished) == 3 * 40
    with pytest.raises(KeyError):
        report.of("fused", TYPOS)


@pytest.fixture(scope="module")
def without_typos(fitted_on_train: Recommender, test_part: Dataset) -> RobustnessReport:
    return measure_robustness(fitted_on_train, test_part, users=12, typos=0.0)


def test_where_no_word_is_mistyped_nothing_is_lost(without_typos: RobustnessReport) -> None:
    for reading in READINGS:
        one = without_typos.of(reading, TYPOS)
        assert one.changed == one.clean > 0
        assert (one.drop, one.low, one.high) == (0.0, 0.0, 0.0)


def test_match_is_judged_by_what_tuning_left_in_the_same_words(
    fitted_on_train: Recommender, test_part: Dataset, without_typos: RobustnessReport
) -> None:
    parts = fitted_on_train.parts
    ids = [test_part.user_ids[at] for at in np.sort(np.random.default_rng(42).choice(40, 12, replace=False))]
    events, people = test_part.sequences(ids), fitted_on_train.people(ids)
    reading = MatchReading(fitted_on_train.engine, parts.prompter, parts.rates, Calibration())
    for asking, value in (
        (Asking(seed=42), without_typos.of("match", HELD_OUT).clean),
        (Asking(seed=42, held_out=True), without_typos.of("match", HELD_OUT).changed),
    ):
        prompts = reading.prompts(people, events.items.tolist(), asking)
        held_out = {template.id for template in parts.prompter.templates[0].of("match", held_out=True)}
        words = fitted_on_train.engine.yes_no_logits(prompts, None, reading.yes_ids, reading.no_ids)
        rule, _ = MatchReading(fitted_on_train.engine, parts.prompter, parts.rates, Calibration(words=0.0)).odds(
            people, events.items.tolist()
        )
        assert auc(events.ratings >= 4, rule + words) == pytest.approx(value)
        assert all(("Give yes or no." in prompt) == asking.held_out for prompt in prompts)
        assert held_out == {"match.en.held_out_suits"}


def test_typos_reach_instruction_and_titles_and_follow_from_the_prompt() -> None:
    prompt = "Chosen so far, oldest first: Amber Harbour (1980). Which movie comes next?"
    found = mistyped(prompt, 1.0)
    assert found == mistyped(prompt, 1.0) != mistyped(prompt + " ", 1.0).strip()
    assert "(1980)" in found
    for word in ("Chosen", "oldest", "first", "Amber", "Harbour", "Which", "movie", "comes", "next"):
        assert word not in found.split()


def test_the_report_is_plain_values_and_a_table(without_typos: RobustnessReport) -> None:
    assert without_typos.to_dict()["drops"][0]["reading"] == "generate"
    console = Console(width=160)
    with console.capture() as capture:
        console.print(without_typos.to_table())
    assert "item tokens with a wish" in capture.get()
    assert "+0.0%" in capture.get()


def test_a_test_without_known_users_is_refused(fitted_on_train: Recommender, test_part: Dataset) -> None:
    strangers = test_part.with_interactions(test_part.interactions.head(0))
    with pytest.raises(DataError, match="no user of the test has a history"):
        measure_robustness(fitted_on_train, strangers)
