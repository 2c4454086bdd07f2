from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.catalogue.people import Person
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.errors import DataError, SettingsError
from flanrec.evaluation.ensembles import evaluate_ensemble, mean_scores, mixed_log_probabilities
from flanrec.recommender import Recommender

rows_of = st.lists(st.lists(st.floats(-20, 0), min_size=4, max_size=4), min_size=1, max_size=4)


@given(rows=rows_of)
def test_averages_are_those_of_the_definition(rows: list[list[float]]) -> None:
    np.testing.assert_allclose(mean_scores(rows), np.mean(rows, axis=0), atol=1e-12)
    np.testing.assert_allclose(mixed_log_probabilities(rows), np.log(np.exp(rows).mean(axis=0)), atol=1e-9)
    assert np.allclose(mean_scores([rows[0]] * 3), rows[0])
    assert np.allclose(mixed_log_probabilities([rows[0]] * 3), rows[0])
    # Geometric means are never above arithmetic ones.
    assert (mean_scores(rows) <= mixed_log_probabilities(rows) + 1e-9).all()


def test_weights_count_and_what_is_impossible_stays_so() -> None:
    first, second = np.array([[-1.0, -np.inf]]), np.array([[-3.0, -2.0]])
    assert mean_scores([first, second], [3, 1]).tolist() == [[-1.5, -np.inf]]
    assert mean_scores([first, second], [0, 1]).tolist() == second.tolist()
    assert mixed_log_probabilities([first, second], [1, 1])[0, 1] == pytest.approx(-2 + np.log(0.5))
    for scores, weights in (([], None), ([first, first[:, :1]], None), ([first], [0.0]), ([first], [1, 1]),
                            ([first, second], [-1, 2])):  # fmt: skip
        with pytest.raises(DataError):
            mean_scores(scores, weights)


class Expert(Recommender):
    """Believes half in what comes next and half, a little more, in an item of its own."""

    def __init__(self, fitted: Recommender, favourite: int) -> None:
        super().__init__(fitted.backbone, fitted.settings)
        self.adopt(fitted.parts)
        self.favourite = favourite

    @property
    def token_reading(self) -> Any:
        def scores(persons: Sequence[Person]) -> Any:
            found = np.full((len(persons), 30), np.log(0.1 / 28), dtype=np.float32)
            for row, person in enumerate(persons):
                found[row, (int(person.items[-1]) + 1) % 28] = np.log(0.44)
                found[row, self.favourite] = np.log(0.46)
            return found

        return SimpleNamespace(scores=scores)


@pytest.fixture(scope="module")
def test_part(small_dataset: Dataset) -> Dataset:
    return hold_out_last(small_dataset)[1]


@pytest.fixture(scope="module")
def fitted_on_train(fitted: Recommender, small_dataset: Dataset) -> Recommender:
    recommender = Recommender(fitted.backbone, fitted.settings)
    recommender.adopt(replace(fitted.parts, dataset=hold_out_last(small_dataset)[0]))
    return recommender


def test_what_models_agree_on_comes_first(fitted_on_train: Recommender, test_part: Dataset) -> None:
    done: list[int] = []
    experts = [Expert(fitted_on_train, 28), Expert(fitted_on_train, 29)]
    report = evaluate_ensemble(experts, test_part, ks=[1], progress=done.append)
    assert [one["ndcg@10"] for one in report.singles] == pytest.approx([1 / np.log2(3)] * 2)
    assert [one["hit_rate@1"] for one in report.singles] == [0.0, 0.0]
    assert report.together["hit_rate@1"] == 1.0
    assert report.difference.value == pytest.approx(1 - 1 / np.log2(3))
    assert report.pays
    assert report.best.name == "item_tokens 1"
    assert sum(done) == 40


@pytest.mark.parametrize("reading", ["item_tokens", "generate", "fused"])
def test_a_model_beside_itself_changes_nothing(fitted_on_train: Recommender, test_part: Dataset, reading: Any) -> None:
    report = evaluate_ensemble([fitted_on_train] * 2, test_part, reading=reading, users=8)
    assert report.together["ndcg@10"] == report.singles[0]["ndcg@10"] == report.singles[1]["ndcg@10"]
    assert report.difference.value == 0.0
    assert not report.pays


def test_one_model_or_two_catalogues_are_no_ensemble(fitted_on_train: Recommender, test_part: Dataset) -> None:
    with pytest.raises(SettingsError, match="two recommenders at least"):
        evaluate_ensemble([fitted_on_train], test_part)
    other = Recommender(fitted_on_train.backbone, fitted_on_train.settings)
    more = pl.DataFrame({"item_id": ["new"], "title": ["Novel Thing"], "text": [""]})
    other.adopt(fitted_on_train.parts.extended(fitted_on_train.backbone, more, fitted_on_train.settings))
    with pytest.raises(DataError, match="recommender 2 has another catalogue"):
        evaluate_ensemble([fitted_on_train, other], test_part)
