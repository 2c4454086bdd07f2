from __future__ import annotations

import numpy as np
import pytest

from flanrec.data import Dataset
from flanrec.errors import DataError, SettingsError
from flanrec.ranking.facts import ItemFacts

DAY = 86_400


@pytest.fixture
def films() -> Dataset:
    return Dataset.from_frames(
        {
            "user_id": [1, 2, 2],
            "item_id": [7, 7, 8],
            "timestamp": [1_000_000_000, 1_000_000_000 + 5 * DAY, 1_000_000_000 + 9 * DAY],
        },
        {
            "item_id": [7, 8, 9],
            "title": ["A", "B", "C"],
            "category": [["Drama", "War"], ["War"], []],
            "year": [2001, None, 1971],
            "provider": ["x", None, "y"],
        },
    )


def test_facts_of_a_dataset(films: Dataset) -> None:
    facts = ItemFacts.from_dataset(films)
    assert len(facts) == 3
    assert facts.popularity.tolist() == [2, 1, 0]
    assert facts.members("category", "War").tolist() == [True, True, False]
    assert facts.members("provider", "y").tolist() == [False, False, True]
    assert facts.members("year", "2001").tolist() == [True, False, False]
    assert not facts.members("category", "Opera").any()
    assert facts.category_shares.tolist() == [[0.5, 0.5], [0.0, 1.0], [0.0, 0.0]]
    assert facts.tail.tolist() == [False, False, True]
    assert facts.index("8") == 1
    assert facts.index("10") is None


def test_ages_count_from_the_newest_event_and_the_untouched_are_new(films: Dataset) -> None:
    facts = ItemFacts.from_dataset(films)
    assert facts.ages["first_seen"].tolist() == [9, 0, 0]
    # 2001-09-18 is 260 days after the first of January.
    assert facts.ages["year"][[0, 2]] == pytest.approx([260, 260 + 30 * 365.2425], abs=1.5)
    assert np.isnan(facts.ages["year"][1])
    later = ItemFacts.from_dataset(films, now=1_000_000_000 + 19 * DAY)
    assert later.ages["first_seen"].tolist() == [19, 10, 0]


def test_without_timestamps_there_are_no_ages() -> None:
    facts = ItemFacts.from_dataset(Dataset.from_frames({"user": [1], "item": [7]}, {"item": [7], "title": ["A"]}))
    assert not facts.ages
    with pytest.raises(SettingsError, match="vectors or categories"):
        _ = facts.similarity


def test_facts_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="2 item ids, but facts of another number: popularity 3, vectors 1"):
        ItemFacts([1, 2], np.zeros(3), vectors=np.zeros((1, 4)))
