"""Chosen against random questions, on a log where it is known which ones are worth asking."""

from __future__ import annotations

import numpy as np
import pytest

from flanrec.data import Dataset, load_dataset
from flanrec.errors import DataError, SettingsError
from flanrec.evaluation.acquiring import category_vectors, measure_items, measure_pairs


@pytest.fixture(scope="module")
def divided() -> Dataset:
    """300 users of two tastes: most of items 0 to 9, or of 10 to 19, and eight of 60 items that say nothing."""
    rng = np.random.default_rng(5)
    events = [
        (user, int(item))
        for user in range(300)
        for item in (
            *(10 * (user % 2) + np.flatnonzero(rng.random(10) < 0.9)),
            *(20 + rng.choice(60, 8, replace=False)),
        )
    ]
    users, items = zip(*events, strict=True)
    titles = [f"Title {chr(65 + item // 9)}{chr(65 + item % 9)}" for item in range(80)]
    return Dataset.from_frames({"user_id": users, "item_id": items}, {"item_id": list(range(80)), "title": titles})


@pytest.mark.parametrize("against", ["answers", "questions"])
def test_items_that_divide_teach_more_than_random_ones(divided: Dataset, against: str) -> None:
    found = measure_items(divided, 4, against=against, draws=5)  # type: ignore[arg-type]
    assert found.difference.low > 0
    assert found.chosen.value > found.before.value
    assert (found.answered[0] == found.answered[1]) == (against == "answers")
    assert found.to_dict()["difference"]["p_value"] < 0.05
    popular = measure_items(divided, 4, against="popular")
    assert "the most popular items" in popular.metric
    assert popular.chosen == found.chosen


@pytest.fixture(scope="module")
def opinions() -> Dataset:
    """60 users who rate all of 20 items: the first ten nearly always 5, the others nearly always 1."""
    rng = np.random.default_rng(2)
    pairs = [(user, int(item)) for user in range(60) for item in rng.permutation(20)]
    users, items = zip(*pairs, strict=True)
    ratings = [5.0 if rng.random() < (0.9 if item < 10 else 0.1) else 1.0 for item in items]
    times = [1_000_000_000 + at for at in range(len(pairs))]
    kinds = [["Good" if item < 10 else "Bad"] for item in range(20)]
    titles = [f"Title {chr(65 + item)}" for item in range(20)]
    return Dataset.from_frames(
        {"user_id": users, "item_id": items, "timestamp": times, "rating": ratings},
        {"item_id": list(range(20)), "title": titles, "category": kinds},
    )


def test_answers_help_and_all_of_them_are_the_same_however_they_were_chosen(opinions: Dataset) -> None:
    first, again = (measure_pairs(opinions, 200, start=20, draws=2, held_out=4, rounds=3) for _ in range(2))
    assert first == again
    assert first.answered == (200, 200)
    assert first.random.high < first.before.low
    assert first.chosen.high < first.before.low
    whole = measure_pairs(opinions, 60 * 16 - 20, start=20, draws=2, held_out=4, rounds=2)
    assert whole.difference.value == pytest.approx(0.0, abs=1e-12)
    assert whole.chosen.value < first.chosen.value


def test_categories_are_vectors_of_length_one(small_dataset: Dataset) -> None:
    vectors = category_vectors(small_dataset)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0)
    assert vectors[0] @ vectors[3] == pytest.approx(1 / np.sqrt(2)), "Comedy and Adventure, and Comedy"


def test_more_questions_than_ratings_are_refused(small_dataset: Dataset, unrated_dataset: Dataset) -> None:
    with pytest.raises(DataError, match="ask for fewer"):
        measure_pairs(small_dataset, 10_000)
    with pytest.raises(DataError, match="has 0 ratings"):
        measure_pairs(unrated_dataset, 10)
    with pytest.raises(SettingsError, match="at least 1"):
        measure_items(small_dataset, 0)


@pytest.mark.slow
def test_what_choosing_is_worth_on_movielens() -> None:
    """As docs/tuning.md tells: items beat as many random answers, and pairs are no better than random ones."""
    movies = load_dataset("ml-100k")
    assert measure_items(movies, 10).difference.low > 0
    assert measure_items(movies, 10, against="questions").difference.low > 0
    pairs = measure_pairs(movies, 500, draws=3)
    assert pairs.chosen.high < pairs.before.value
    assert pairs.difference.low < 0 < pairs.difference.high
