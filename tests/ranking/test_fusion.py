"""Fusion learns how much each source is worth, and trees only what held-out users confirm."""

from __future__ import annotations

import re

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.errors import CheckpointError, DataError
from flanrec.ranking.boosting import Boosted, BoostingSettings
from flanrec.ranking.fusion import Fusion
from flanrec.ranking.lessons import Lessons
from flanrec.ranking.loglinear import LogLinear
from flanrec.ranking.pool import Pool
from flanrec.ranking.tree_text import rewritten

N_USERS, N_ITEMS = 300, 30
QUICK = BoostingSettings(rounds=40, every=20, least_pairs=20, threads=1)


def drawn(weights: dict[str, float], seed: int = 0, crossed: float = 0.0) -> tuple[Pool, np.ndarray]:
    """Everybody's pool is all items; answers are drawn by a log-linear model, with a product if wished."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(N_USERS), N_ITEMS)
    items = np.tile(np.arange(N_ITEMS), N_USERS)
    features = rng.normal(size=(len(users), len(weights))).astype(np.float32)
    logits = features @ np.array(list(weights.values())) + crossed * (features[:, 0] > 0) * (features[:, -1] > 0)
    noisy = (logits + rng.gumbel(size=len(logits))).reshape(N_USERS, N_ITEMS)
    return Pool(users, items, features, tuple(weights), N_USERS), noisy.argmax(axis=1)


def test_the_weights_that_made_the_answers_are_found() -> None:
    pool, answers = drawn({"good": 1.5, "noise": 0.0, "bad": -0.8})
    fitted = LogLinear.fit(pool, answers, pool.names, strength=1.0)
    assert fitted is not None
    assert fitted.weights == pytest.approx((1.5, 0.0, -0.8), abs=0.25)


def test_few_events_leave_the_weights_near_what_is_expected_and_many_do_not() -> None:
    pool, answers = drawn({"good": 1.5, "noise": 0.0})
    expected = {"good": 3.0, "noise": 0.5}
    firm, loose = (
        LogLinear.fit(pool, answers, pool.names, prior=expected, strength=strength) for strength in (1e5, 1e-3)
    )
    assert firm is not None
    assert loose is not None
    assert firm.weights == pytest.approx((3.0, 0.5), abs=0.02)
    assert loose.weights == pytest.approx((1.5, 0.0), abs=0.25)
    assert LogLinear.fit(pool, answers, pool.names, prior={"good": 1.5}, strength=1e5) != firm, (
        "0 where nothing is said"
    )


def test_earlier_events_are_what_a_fusion_starts_from() -> None:
    earlier = drawn({"ease.score": 2.0, "covisits.score": 0.0}, seed=1)
    pool, answers = drawn({"ease.score": 2.0, "covisits.score": 0.0, "tokens.score": 1.0})
    few = np.arange(N_USERS) < 25
    alone = Fusion.fit(Lessons(pool.of(few), answers), None, 0)
    taught = Fusion.fit(Lessons(pool.of(few), answers, earlier), None, 0)
    assert alone.base.names == taught.base.names == ("ease.score", "covisits.score", "tokens.score")
    truth = np.array([2.0, 0.0, 1.0])
    assert np.abs(taught.base.weights - truth)[:2].sum() < np.abs(alone.base.weights - truth)[:2].sum()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_weights_without_a_user_are_those_fitted_without_that_user(seed: int) -> None:
    pool, answers = drawn({"good": 1.0, "noise": 0.0}, seed=seed)
    prior = {"good": 1.2, "noise": -0.3}
    fitted = LogLinear.fit(pool, answers, pool.names, prior=prior)
    assert fitted is not None
    found = fitted.left_out(pool, answers, prior=prior)
    for user in (0, 7, N_USERS - 1):
        others = LogLinear.fit(pool.of(np.arange(N_USERS) != user), answers, pool.names, prior=prior)
        assert others is not None
        own = pool.users == user
        exact, before = others.scores(pool)[own], fitted.scores(pool)[own]
        assert np.abs(found[own] - exact).max() < 0.15 * np.abs(before - exact).max() + 1e-4


def test_who_has_no_part_in_the_weights_is_scored_by_all_of_them() -> None:
    pool, answers = drawn({"good": 1.0, "noise": 0.0})
    answers[4] = 99
    fitted = LogLinear.fit(pool, answers, pool.names)
    assert fitted is not None
    own = pool.users == 4
    np.testing.assert_array_equal(fitted.left_out(pool, answers)[own], fitted.scores(pool)[own])


def test_users_whose_answer_is_no_candidate_are_passed_over() -> None:
    pool, answers = drawn({"good": 1.5, "noise": 0.0})
    fitted = LogLinear.fit(pool, answers, pool.names)
    lost = answers.copy()
    lost[::2] = 99
    kept = pool.of(np.arange(N_USERS) % 2 == 1)
    assert LogLinear.fit(pool, lost, pool.names) == LogLinear.fit(kept, answers, pool.names) != fitted
    assert LogLinear.fit(pool, np.full(N_USERS, 99), pool.names) is None


def test_a_missing_feature_is_named() -> None:
    pool, _ = drawn({"good": 1.0})
    with pytest.raises(DataError, match="no feature"):
        LogLinear(("tokens.score",), (1.0,)).scores(pool)


def test_trees_find_what_a_sum_cannot_say() -> None:
    pool, answers = drawn({"one": 0.5, "other": 0.5}, crossed=4.0)
    base = LogLinear.fit(pool, answers, pool.names)
    assert base is not None
    told = base.scores(pool)
    trees = Boosted.fit(pool, told, answers, QUICK)
    assert trees.text
    assert max(trees.curve.values()) > trees.curve[0] + 0.02
    fresh, right = drawn({"one": 0.5, "other": 0.5}, seed=1, crossed=4.0)
    before, after = (
        fresh.best(base.scores(fresh), 1)[0],
        fresh.best(trees.scores(fresh, base.scores(fresh)), 1)[0],
    )
    assert (after[:, 0] == right).mean() > (before[:, 0] == right).mean()
    again = Boosted(trees.names, trees.text)
    np.testing.assert_array_equal(again.scores(fresh, base.scores(fresh)), trees.scores(fresh, base.scores(fresh)))


def test_where_there_is_nothing_to_correct_trees_stay_few_and_where_few_answer_none_grow() -> None:
    pool, answers = drawn({"one": 2.0, "noise": 0.0})
    base = LogLinear(("one",), (2.0,)).scores(pool)
    trees = Boosted.fit(pool, base, answers, QUICK)
    assert max(trees.curve.values()) < trees.curve[0] + 0.03
    few = pool.of(np.arange(N_USERS) < 40)
    assert Boosted.fit(few, base[pool.users < 40], answers, QUICK).text == ""


def test_the_same_seed_grows_the_same_trees() -> None:
    pool, answers = drawn({"one": 0.5, "other": 0.5}, crossed=4.0)
    base = pool.column("one")
    assert Boosted.fit(pool, base, answers, QUICK, seed=3) == Boosted.fit(pool, base, answers, QUICK, seed=3)


@pytest.fixture(scope="module")
def grown() -> tuple[Pool, Boosted]:
    """Trees that correct something."""
    pool, answers = drawn({"one": 0.5, "other": 0.5}, crossed=4.0)
    trees = Boosted.fit(pool, pool.column("one"), answers, QUICK)
    assert trees.text
    return pool, trees


def saying(trees: Boosted, pattern: str, instead: str) -> Boosted:
    """The same trees, of which the first line that fits a pattern says something else."""
    changed = re.sub(rf"\n{pattern}", f"\n{instead}", trees.text, count=1)
    assert changed != trees.text
    return Boosted(trees.names, changed)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("split_feature", "9999999"),
        ("split_feature", "-1"),
        ("left_child", "123456"),
        ("left_child", "0"),
        ("right_child", "-9999"),
        ("num_leaves", "99999999"),
        ("num_cat", "1"),
        ("leaf_value", "nan"),
        ("leaf_value", "many"),
        ("threshold", ""),
        ("decision_type", "1"),
        ("is_linear", "1"),
    ],
)
def test_trees_that_point_outside_themselves_are_refused(grown: tuple[Pool, Boosted], field: str, value: str) -> None:
    pool, trees = grown
    with pytest.raises(CheckpointError, match="trees"):
        saying(trees, rf"{field}=\S+", f"{field}={value}").scores(pool, pool.column("one"))
    with pytest.raises(CheckpointError, match="trees"):
        Boosted(("one",), trees.text).scores(pool, pool.column("one"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tree_sizes", "99999999999"),
        ("objective", "multiclass num_class:100000"),
        ("num_tree_per_iteration", "0"),
        ("num_class", "100000"),
        ("feature_infos", "many"),
    ],
)
def test_what_is_said_about_trees_is_not_believed(grown: tuple[Pool, Boosted], field: str, value: str) -> None:
    pool, trees = grown
    found = saying(trees, rf"{field}=[^\n]+", f"{field}={value}").scores(pool, pool.column("one"))
    np.testing.assert_array_equal(found, trees.scores(pool, pool.column("one")))


def test_trees_are_read_as_lightgbm_reads_them(grown: tuple[Pool, Boosted]) -> None:
    pool, trees = grown
    read = lightgbm.Booster(model_str=trees.text).predict(pool.features)
    kept = lightgbm.Booster(model_str=rewritten(trees.text, 2))
    np.testing.assert_array_equal(kept.predict(pool.features), read)
    with_gaps = np.where(np.random.default_rng(0).random(pool.features.shape) < 0.3, np.nan, pool.features)
    read = lightgbm.Booster(model_str=trees.text).predict(with_gaps)
    np.testing.assert_array_equal(kept.predict(with_gaps), read)


def test_broken_trees_are_refused() -> None:
    pool, _ = drawn({"one": 0.5})
    with pytest.raises(CheckpointError, match="trees"):
        Boosted(("one",), "tree\nnonsense").scores(pool, pool.column("one"))
