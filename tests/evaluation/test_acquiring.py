"""Chosen against random questions, on a log where it is known which ones are worth asking."""

from __future__ import annotations

import numpy as np
import pytest

from flanrec.data import Dataset, load_dataset
from flanrec.errors import DataError, SettingsError
from flanrec.evaluation.acquiring import category_vectors, measure_items, measure_pairs


@pytest.fixture(scope="module")
def divided() -> Dataset:
    """300 users of two tastes, known by items 0 to 9, which half of them met; items 10 to 69 say nothing.

    Who met item 0, and with it most of 0 to 9, ends with an item of 70 to 74; the others with one of 75 to 79.
    """
    rng = np.random.default_rng(5)
    events = []
    for user in range(300):
        side = user % 2
        first = [int(item) for item in np.flatnonzero(rng.random(10) < 0.95)] if side == 0 else []
        noise = (10 + rng.choice(60, 8, replace=False)).tolist()
        history = rng.permutation([*first, *noise]).tolist()
        events += [(user, item, at) for at, item in enumerate([*history, 70 + 5 * side + int(rng.integers(5))])]
    users, items, times = zip(*events, strict=True)
    titles = [f"Title {chr(65 + item // 9)}{chr(65 + item % 9)}" for item in range(80)]
    return Dataset.from_frames(
        {"user_id": users, "item_id": items, "timestamp": [1_000_000_000 + at for at in times]},
        {"item_id": list(range(80)), "title": titles},
    )


def test_items_that_divide_teach_more_than_random_ones(divided: Dataset) -> None:
    found = measure_items(divided, 5, balance=0.0, draws=20)
    assert found.difference.low > 0
    assert found.chosen.value > found.before.value
    assert found.answered[0] > found.answered[1] > 0
    assert found.to_dict()["difference"]["p_value"] < 0.05


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
    """As docs/tuning.md tells: items for new users beat random ones."""
    found = measure_items(load_dataset("ml-100k"), 10)
    assert found.answered[0] > found.answered[1]
    assert found.difference.low > 0
