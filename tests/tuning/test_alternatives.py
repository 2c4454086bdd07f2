"""Items that a user might have met instead: by which chances, near what, and never from the future."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flanrec.catalogue.facets import Facets
from flanrec.catalogue.people import people
from flanrec.catalogue.prompter import Prompter
from flanrec.data.dataset import Dataset
from flanrec.tuning.alternatives import Alternatives

DRAWS = 20_000


@pytest.fixture(scope="module")
def alternatives(small_dataset: Dataset, small_prompter: Prompter) -> Alternatives:
    catalogue = small_prompter.catalogue
    return Alternatives(people(small_dataset), catalogue, Facets.of(catalogue), window=40)


def shares(items: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.bincount(items, minlength=30) / len(items)


def test_items_are_drawn_evenly_or_by_their_events_and_one_more(alternatives: Alternatives) -> None:
    evenly = shares(alternatives.evenly(np.random.default_rng(0), DRAWS))
    np.testing.assert_allclose(evenly, 1 / 30, atol=0.006)
    weights = alternatives.catalogue.popularity + 1
    assert weights.std() > 2
    expected = weights / weights.sum()
    np.testing.assert_allclose(shares(alternatives.by_events(np.random.default_rng(0), DRAWS)), expected, atol=0.006)
    np.testing.assert_allclose(np.exp(alternatives.log_shares), expected)


def test_popular_is_what_was_taken_in_the_window_before_the_moment(alternatives: Alternatives) -> None:
    events = sorted(
        (float(time), int(item))
        for user in alternatives.users
        for time, item in zip(user.times if user.times is not None else [], user.items, strict=True)
    )
    moment = 1_000_004_007.0
    before = [item for time, item in events if time < moment][-40:]
    assert len(before) == 40
    found = alternatives.popular(np.random.default_rng(0), moment, DRAWS)
    np.testing.assert_allclose(shares(found), np.bincount(before, minlength=30) / 40, atol=0.01)


@pytest.mark.parametrize("moment", [float("nan"), 0.0])
def test_where_no_time_is_known_or_nothing_was_before_all_events_count(
    alternatives: Alternatives, moment: float
) -> None:
    one, two = (np.random.default_rng(3) for _ in range(2))
    assert alternatives.popular(one, moment, 50).tolist() == alternatives.by_events(two, 50).tolist()


def test_a_log_without_times_has_no_past(alternatives: Alternatives) -> None:
    timeless = [replace(user, times=None) for user in alternatives.users]
    untimed = Alternatives(timeless, alternatives.catalogue, alternatives.facets)
    unknown = [replace(user, times=np.full(len(user.items), np.nan)) for user in alternatives.users]
    for one in (untimed, Alternatives(unknown, alternatives.catalogue, alternatives.facets)):
        drawn = one.popular(np.random.default_rng(3), 2e9, 50)
        assert drawn.tolist() == alternatives.by_events(np.random.default_rng(3), 50).tolist()


def test_near_are_items_of_its_category_of_its_rank_or_of_its_time(alternatives: Alternatives) -> None:
    # Ranks within 50 of each other are all of a catalogue of 30, so only categories are told apart here.
    found = shares(alternatives.near(np.random.default_rng(0), 3, 1_000_004_007.0, DRAWS))
    comedies = np.flatnonzero(np.arange(30) % 3 == 0)
    assert found[comedies].min() > 0.03
    assert found.min() > 0.01


def test_ranks_near_in_popularity_are_within_fifty(small_prompter: Prompter) -> None:
    catalogue = replace(
        small_prompter.catalogue, titles=["t"] * 300, popularity=np.arange(300), categories=[()] * 300,
        item_ids=list(range(300)), years=[None] * 300,
    )  # fmt: skip
    plain = Alternatives([], catalogue, Facets.of(catalogue))
    found = plain.near(np.random.default_rng(0), 150, float("nan"), DRAWS)
    # Two in three go by rank, as there is no category; the third goes by all events.
    assert np.mean(np.abs(found - 150) <= 50) > 0.66
    assert np.mean(np.abs(found - 150) > 50) > 0.15
    low = plain.near(np.random.default_rng(0), 0, float("nan"), 100)
    assert low.min() >= 0


def test_the_rng_alone_decides(alternatives: Alternatives) -> None:
    def drawn(seed: int) -> list[int]:
        rng = np.random.default_rng(seed)
        return [*alternatives.near(rng, 3, 1_000_004_007.0, 9), *alternatives.by_events(rng, 9)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
