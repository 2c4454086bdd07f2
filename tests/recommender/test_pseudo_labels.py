"""Pseudo-labels: what passes the gate, what is written beside it, and what a log makes of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.data import Dataset
from flanrec.data.labels import with_labels
from flanrec.data.splits import hold_out_last
from flanrec.errors import NotFoundError, SettingsError
from flanrec.instructions.text import occurs
from flanrec.recommender import Recommender
from flanrec.recommender.pseudo_labels import gated, pseudo_labels, typical_ratings, unrated_events, unrated_pairs

chances = st.lists(st.floats(0, 1), max_size=40).map(np.array)
gates = st.floats(0.51, 0.99)


@given(chances, gates, st.one_of(st.none(), st.integers(1, 30)), st.booleans())
def test_the_gate_keeps_what_it_promises(values: np.ndarray, gate: float, most: int | None, balanced: bool) -> None:
    rows, liked = gated(values.astype(float), gate, most=most, balanced=balanced)
    assert np.all(np.diff(rows) > 0)
    assert np.all(values[rows[liked]] >= gate)
    assert np.all(values[rows[~liked]] <= 1 - gate)
    yes, no = int((values >= gate).sum()), int((values <= 1 - gate).sum())
    if balanced:
        assert liked.sum() == (~liked).sum() == min(yes, no, len(values) if most is None else most // 2)
    else:
        assert len(rows) == min(yes + no, len(values) if most is None else most)
    # No pair that is left out is surer than one that is kept beside it.
    sure = np.abs(values - 0.5)
    left = np.setdiff1d(np.flatnonzero((values >= gate) | (values <= 1 - gate)), rows)
    for yes_side in (True, False):
        kept = rows[liked == yes_side] if balanced else rows
        out = left[(values[left] >= gate) == yes_side] if balanced else left
        assert not len(kept) or not len(out) or sure[out].max() <= sure[kept].min()


@pytest.fixture(scope="module")
def half_rated(fitted: Recommender, small_dataset: Dataset) -> Recommender:
    """A recommender whose log has ratings of every other event."""
    events = small_dataset.interactions
    rating = pl.when(pl.col("row") % 2 == 0).then(pl.col("rating"))
    dataset = small_dataset.with_interactions(events.with_columns(rating.alias("rating")))
    other = Recommender(fitted.backbone, fitted.settings)
    other.adopt(replace(fitted.parts, dataset=dataset))
    return other


def test_unrated_events_of_the_users_are_labelled(half_rated: Recommender) -> None:
    found = pseudo_labels(half_rated, users=["u3", "u5", "stranger"], gate=0.55, balanced=False)
    assert found.height
    assert set(found["user_id"]) <= {"u3", "u5"}
    open_events = unrated_events(half_rated, ["u3", "u5"])
    assert found.join(open_events, on=["user_id", "item_id", "timestamp"]).height == found.height
    matched = half_rated.match(found.select("user_id", "item_id"))["probability"]
    np.testing.assert_allclose(found["probability"], matched, atol=1e-4)
    for rating, weight, chance, target, prompt in found.select(
        "rating", "weight", "probability", "target", "prompt"
    ).iter_rows():
        assert (rating >= 4) == (target == "yes") == (chance >= 0.55)
        assert weight == pytest.approx(max(chance, 1 - chance))
        assert prompt.endswith("Answer yes or no.")
    assert set(found["rating"]) <= set(typical_ratings(half_rated))


def test_pairs_that_are_rated_already_or_have_no_user_are_left_out(half_rated: Recommender) -> None:
    pairs = pl.DataFrame({"user_id": ["u0", "u0", None, "u0"], "item_id": ["i0", "i1", "i2", "i20"]})
    # u0 met i0 to i5; its even rows, i0 among them, are rated.
    found = pseudo_labels(half_rated, pairs.with_columns(probability=pl.Series([0.9] * 4)), gate=0.8, balanced=False)
    assert found["item_id"].to_list() == ["i1", "i20"]
    assert found["probability"].to_list() == [0.9, 0.9]


def test_what_the_next_fit_sets_apart_gets_no_label_and_is_in_no_prompt(
    half_rated: Recommender, small_dataset: Dataset
) -> None:
    titles = dict(small_dataset.items.select("item_id", "title").iter_rows())
    newest = dict(hold_out_last(small_dataset)[1].interactions.select("user_id", "item_id").iter_rows())
    found = pseudo_labels(half_rated, gate=0.51, balanced=False)
    assert found.height
    for user, item, prompt in found.select("user_id", "item_id", "prompt").iter_rows():
        assert newest[user] != item
        assert not occurs(titles[newest[user]], prompt)
        walked = small_dataset.interactions.filter(pl.col("user_id") == user)["item_id"].to_list()
        later = walked[walked.index(item) + 1 :]
        assert not any(occurs(titles[other], prompt) for other in later)
    pairs = pl.DataFrame({"user_id": list(newest), "item_id": list(newest.values())})
    assert unrated_pairs(half_rated, pairs).height == 0


def test_an_item_that_was_rated_in_another_event_is_not_unrated(half_rated: Recommender) -> None:
    log = half_rated.parts.dataset.interactions
    open_event = unrated_events(half_rated, ["u3"]).row(0, named=True)
    again = log.filter((pl.col("user_id") == "u3") & (pl.col("item_id") == open_event["item_id"])).with_columns(
        timestamp=pl.lit(0, dtype=log["timestamp"].dtype),
        rating=pl.lit(2.0),
        row=pl.lit(log.height + 1, dtype=log["row"].dtype),
    )
    other = Recommender(half_rated.backbone, half_rated.settings)
    twice = half_rated.parts.dataset.with_interactions(pl.concat([again, log]))
    other.adopt(replace(half_rated.parts, dataset=twice))
    assert open_event["item_id"] not in unrated_events(other, ["u3"])["item_id"].to_list()


def test_bad_requests_are_refused(half_rated: Recommender) -> None:
    pairs = pl.DataFrame({"user_id": ["u0"], "item_id": ["i1"]})
    with pytest.raises(SettingsError, match=r"gate is 0\.5.*above 0\.5"):
        pseudo_labels(half_rated, pairs, gate=0.5)
    with pytest.raises(SettingsError, match="at most 0 labels"):
        pseudo_labels(half_rated, pairs, most=0)
    with pytest.raises(SettingsError, match="either pairs or users"):
        pseudo_labels(half_rated, pairs, users=["u0"])
    with pytest.raises(SettingsError, match="give a list"):
        pseudo_labels(half_rated, users="u0")
    with pytest.raises(NotFoundError):
        pseudo_labels(half_rated, pairs.with_columns(item_id=pl.lit("i99")))


def test_typical_ratings_are_the_most_frequent_of_each_side(half_rated: Recommender, fitted: Recommender) -> None:
    log = half_rated.parts.people.log
    for rating, side in zip(typical_ratings(half_rated), (log.ratings < 4, log.ratings >= 4), strict=True):
        values, counts = np.unique(log.ratings[side], return_counts=True)
        assert counts[values == rating] == counts.max()
    events = half_rated.parts.dataset.interactions.with_columns(rating=pl.lit(None, dtype=pl.Float64))
    bare = Recommender(fitted.backbone, fitted.settings)
    bare.adopt(replace(fitted.parts, dataset=fitted.parts.dataset.with_interactions(events)))
    assert typical_ratings(bare) == (3.0, 4.0)


def test_a_labelled_log_can_be_learnt_from(half_rated: Recommender) -> None:
    found = pseudo_labels(half_rated, users=["u3", "u5"], gate=0.55, balanced=False)
    log = half_rated.parts.dataset
    filled = with_labels(log, found)
    assert filled.interactions["rating"].null_count() == log.interactions["rating"].null_count() - found.height
    rated = log.interactions["rating"].is_not_null()
    assert filled.interactions["rating"].filter(rated).equals(log.interactions["rating"].filter(rated))
    assert filled.interactions.drop("rating").equals(log.interactions.drop("rating"))
