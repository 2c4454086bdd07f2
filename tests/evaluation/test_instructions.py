from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from flanrec.catalogue.people import Person
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.errors import DataError, NotFoundError
from flanrec.evaluation.instructions import InstructionReport, measure_instructions, shuffled
from flanrec.recommender import Asking, Recommender


@given(st.text())
def test_shuffling_keeps_the_multiset_of_words_and_is_the_same_every_time(prompt: str) -> None:
    assert Counter(shuffled(prompt).split()) == Counter(prompt.split())
    assert shuffled(prompt) == shuffled(prompt)


def test_shuffling_a_long_prompt_changes_it() -> None:
    prompt = "The user wants a quiet drama but no comedy . Which movie comes next ?"
    assert shuffled(prompt) != prompt


class Other(Recommender):
    """Ranks as the fitted one does, or in a way whose answers are known."""

    def __init__(self, fitted: Recommender) -> None:
        super().__init__(fitted.backbone, fitted.settings)
        self.adopt(fitted.parts)
        self.asked: list[Asking] = []

    def _noted(self, persons: Sequence[Person], asking: Any) -> list[Asking]:
        each = [asking] * len(persons) if isinstance(asking, Asking) else list(asking)
        self.asked += each
        return each


class Deaf(Other):
    """Reads the same instruction, whatever is said."""

    def rank(self, persons: Sequence[Person], k: int, asking: Any = Asking(), **more: Any) -> Any:  # noqa: B008
        each = self._noted(persons, asking)
        return super().rank(persons, k, [replace(one, rewrite=lambda _: "Which comes next?") for one in each], **more)


class Obedient(Other):
    """Gives the catalogue in order, what is wished for first; knows a category only by the unchanged wording."""

    def rank(self, persons: Sequence[Person], k: int, asking: Any = Asking(), **more: Any) -> Any:  # noqa: B008
        facets = self.parts.facets
        columns = {name.casefold(): column for column, name in enumerate(facets.names)}
        rows = []
        for one in self._noted(persons, asking):
            said = one.wish if one.rewrite is None and not one.held_out else ""
            wanted = facets.members[:, columns[said]] if said else np.zeros(30, dtype=bool)
            rows.append(np.argsort(~wanted, kind="stable")[:k])
        return np.array(rows), np.zeros((len(rows), k), dtype=np.float32)


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


@pytest.fixture(scope="module")
def obedient(fitted_on_train: Recommender, test_part: Dataset) -> tuple[Obedient, InstructionReport]:
    recommender = Obedient(fitted_on_train)
    return recommender, measure_instructions(recommender, test_part, categories=3)


def test_who_hears_nothing_shows_no_effect_of_any_kind(fitted_on_train: Recommender, test_part: Dataset) -> None:
    report = measure_instructions(Deaf(fitted_on_train), test_part, categories=2, users=12)
    assert report.users == 12
    for wish in report.wishes:
        assert wish.share_with == wish.share_without
        assert wish.ndcg_with == pytest.approx(wish.ndcg_without, nan_ok=True)
    assert report.share_ratio == 1.0
    assert report.fit_gain == 0.0
    assert report.held_out_kept == 1.0
    for contrast in (report.templates, report.wished_templates, report.order, report.words):
        assert (contrast.difference, contrast.low, contrast.high) == (0.0, 0.0, 0.0)
    assert report.plain.value > 0


def test_the_fitted_model_hears_something(fitted_on_train: Recommender, test_part: Dataset) -> None:
    persons = fitted_on_train.people(test_part.user_ids[:6])
    plain = fitted_on_train.token_reading.scores(persons)
    wished = fitted_on_train.token_reading.scores(persons, Asking(wish="comedy"))
    deaf = fitted_on_train.token_reading.scores(persons, Asking(wish="comedy", rewrite=lambda _: "Which comes next?"))
    still = fitted_on_train.token_reading.scores(persons, Asking(rewrite=lambda _: "Which comes next?"))
    assert np.abs(plain - wished).max() > 1e-5
    assert np.array_equal(deaf, still)


def test_wishes_are_measured_by_share_and_by_fit(
    obedient: tuple[Obedient, InstructionReport], test_part: Dataset
) -> None:
    _, report = obedient
    # Item i is of kind i % 3, so of items 0 to 9 four are comedies and three each of the other kinds.
    shares = {wish.category: (wish.share_without, wish.share_with) for wish in report.wishes}
    assert shares == {
        "Comedy": pytest.approx((0.4, 1.0)), "Drama": pytest.approx((0.3, 1.0)), "Sci-Fi": pytest.approx((0.3, 1.0))
    }  # fmt: skip
    assert report.share_ratio == pytest.approx(3.0)
    answers = test_part.interactions["item_id"].str.slice(1).cast(pl.Int64).to_numpy()
    assert [wish.fitting for wish in report.wishes] == [int((answers % 3 == kind).sum()) for kind in range(3)]
    drama = answers[answers % 3 == 1]
    gained = {wish.category: (wish.ndcg_without, wish.ndcg_with) for wish in report.wishes}["Drama"]
    without = np.where(drama < 10, 1 / np.log2(drama + 2), 0.0).mean()
    assert gained == pytest.approx((without, (1 / np.log2((drama - 1) / 3 + 2)).mean()))
    assert report.fit_gain > 0


def test_only_the_wording_differs_in_a_contrast(obedient: tuple[Obedient, InstructionReport]) -> None:
    _, report = obedient
    assert report.users == 40
    # Neither changed nor held-out wordings are understood here, and without a wish there is nothing to understand.
    assert report.templates.difference == 0.0
    assert report.held_out_kept == 1.0
    assert report.wished_templates.second == pytest.approx(report.plain.value)
    assert report.order.second == report.words.second == pytest.approx(report.plain.value)
    assert report.order.first == report.words.first == report.wished_templates.first > report.plain.value
    assert report.order.low <= report.order.difference <= report.order.high < 0


def test_wishes_fit_the_answer_and_aversions_do_not(
    obedient: tuple[Obedient, InstructionReport], test_part: Dataset
) -> None:
    recommender, _ = obedient
    facets = recommender.parts.facets
    columns = {name.casefold(): column for column, name in enumerate(facets.names)}
    answers = test_part.sequences(test_part.interactions["user_id"].unique(maintain_order=True).to_list()).items
    asked = [one for one in recommender.asked if one.rewrite is shuffled]
    assert len(asked) == len(answers) == 40
    for one, answer in zip(asked, answers, strict=True):
        assert facets.members[answer, columns[one.wish]]
        assert not facets.members[answer, columns[one.avoid]]
    assert {one.seed for one in recommender.asked if one.held_out} == {42}


def test_the_report_is_plain_values_and_a_table(obedient: tuple[Obedient, InstructionReport]) -> None:
    _, report = obedient
    body = report.to_dict()
    assert body["share_ratio"] == report.share_ratio
    assert [wish["category"] for wish in body["wishes"]] == ["Comedy", "Drama", "Sci-Fi"]
    console = Console(width=160)
    with console.capture() as capture:
        console.print(report.to_table())
    assert "mean share x3.00" in capture.get()
    assert "wish and aversion, words shuffled" in capture.get()


def test_a_test_with_its_items_in_another_order_measures_the_same(
    obedient: tuple[Obedient, InstructionReport], test_part: Dataset
) -> None:
    recommender, report = obedient
    reversed_ = replace(test_part, items=test_part.items.reverse())
    assert measure_instructions(recommender, reversed_, categories=3) == report


def test_what_cannot_be_measured_is_refused(
    fitted_on_train: Recommender, test_part: Dataset, small_dataset: Dataset
) -> None:
    strangers = test_part.with_interactions(test_part.interactions.with_columns(user_id=pl.lit("nobody")))
    with pytest.raises(DataError, match="no user of the test has a history"):
        measure_instructions(fitted_on_train, strangers)
    more = pl.concat([small_dataset.items, small_dataset.items.head(1).with_columns(item_id=pl.lit("i99"))])
    unknown = replace(test_part, items=more,
                      interactions=test_part.interactions.with_columns(item_id=pl.lit("i99")))  # fmt: skip
    with pytest.raises(NotFoundError, match="'i99'"):
        measure_instructions(fitted_on_train, unknown)
    facets = replace(fitted_on_train.parts.facets, n_categories=0)
    plain = Recommender(fitted_on_train.backbone, fitted_on_train.settings)
    plain.adopt(replace(fitted_on_train.parts, facets=facets))
    with pytest.raises(DataError, match="no categories to wish for"):
        measure_instructions(plain, test_part)
