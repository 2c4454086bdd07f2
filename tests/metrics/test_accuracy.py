from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.errors import DataError, SettingsError
from flanrec.metrics import accuracy
from flanrec.metrics.lists import UserItems

# Relevant: 4 and 7. Hits at ranks 2 and 4 of 5.
RANKED = np.array([[1, 4, 2, 7, 3]])
RELEVANT = UserItems.from_lists([[7, 4]])
IDEAL = 1 + 1 / math.log2(3)


def plain(ranked: list[int], relevant: list[int], k: int) -> dict[str, float]:
    """Work all six metrics out for one user, in plain Python, straight from their definitions."""
    wanted = set(relevant)
    if not wanted:
        return dict.fromkeys(("hit_rate", "recall", "precision", "ndcg", "mrr", "map"), math.nan)
    hit_ranks = []
    met = set()
    for rank, item in enumerate(ranked[:k], start=1):
        if item in wanted and item not in met:
            hit_ranks.append(rank)
        met.add(item)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(wanted)) + 1))
    return {
        "hit_rate": 1.0 if hit_ranks else 0.0,
        "recall": len(hit_ranks) / len(wanted),
        "precision": len(hit_ranks) / k,
        "ndcg": sum(1 / math.log2(rank + 1) for rank in hit_ranks) / ideal,
        "mrr": 1 / hit_ranks[0] if hit_ranks else 0.0,
        "map": sum(place / rank for place, rank in enumerate(hit_ranks, start=1)) / len(wanted),
    }


@pytest.mark.parametrize(
    ("metric", "k", "expected"),
    [
        (accuracy.hit_rate, 1, 0.0),
        (accuracy.hit_rate, 2, 1.0),
        (accuracy.recall, 3, 0.5),
        (accuracy.recall, 4, 1.0),
        (accuracy.precision, 4, 0.5),
        (accuracy.precision, 5, 0.4),
        (accuracy.reciprocal_rank, 1, 0.0),
        (accuracy.reciprocal_rank, 5, 0.5),
        (accuracy.average_precision, 3, 0.25),
        (accuracy.average_precision, 5, 0.5),
        (accuracy.ndcg, 1, 0.0),
        (accuracy.ndcg, 2, (1 / math.log2(3)) / IDEAL),
        (accuracy.ndcg, 5, (1 / math.log2(3) + 1 / math.log2(5)) / IDEAL),
    ],
)
def test_values_worked_out_by_hand(metric: Callable[..., np.ndarray], k: int, expected: float) -> None:
    assert metric(RANKED, RELEVANT, k) == pytest.approx([expected], abs=1e-12)


def test_map_divides_by_all_relevant_items_even_when_they_do_not_fit_in_the_list() -> None:
    values = accuracy.average_precision(np.array([[0, 1]]), UserItems.from_lists([[0, 1, 2, 3]]), k=2)
    assert values.tolist() == [0.5]


def test_a_user_without_relevant_items_is_undefined_and_an_empty_list_counts_as_zero() -> None:
    for values in accuracy.accuracy_at(np.array([[1, 2], [-1, -1]]), UserItems.from_lists([[], [1]]), [2]).values():
        assert np.isnan(values[0])
        assert values[1] == 0.0


def test_an_item_named_twice_is_one_hit_at_its_first_place() -> None:
    twice = accuracy.accuracy_at(np.array([[3, 5, 5]]), UserItems.from_lists([[5, 5, 8]]), [3])
    assert {name: values[0] for name, values in twice.items()} == pytest.approx(
        {f"{name}@3": value for name, value in plain([3, 5, 9], [5, 8], 3).items()}
    )


@pytest.mark.parametrize("k", [0, -3, 6])
def test_a_cut_off_outside_the_lists_is_refused(k: int) -> None:
    with pytest.raises(SettingsError, match=f"got {k}"):
        accuracy.ndcg(RANKED, RELEVANT, k)


def test_no_cut_off_and_other_users_are_refused() -> None:
    with pytest.raises(SettingsError, match="no cut-off"):
        accuracy.accuracy_at(RANKED, RELEVANT, [])
    with pytest.raises(DataError, match="relevant items have 2 user rows"):
        accuracy.ndcg(RANKED, UserItems.from_lists([[1], [2]]), 1)


@st.composite
def evaluations(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]], int]:
    users = draw(st.integers(1, 5))
    width = draw(st.integers(1, 6))
    row = st.lists(st.integers(-1, 9), min_size=width, max_size=width)
    ranked = draw(st.lists(row, min_size=users, max_size=users))
    relevant = draw(st.lists(st.lists(st.integers(0, 12), max_size=8), min_size=users, max_size=users))
    return ranked, relevant, draw(st.integers(1, width))


@given(case=evaluations())
def test_every_metric_agrees_with_plain_python(case: tuple[list[list[int]], list[list[int]], int]) -> None:
    ranked, relevant, k = case
    found = accuracy.accuracy_at(np.array(ranked), UserItems.from_lists(relevant), [k])
    for user, (line, wanted) in enumerate(zip(ranked, relevant, strict=True)):
        for name, value in plain(line, wanted, k).items():
            assert found[f"{name}@{k}"][user] == pytest.approx(value, abs=1e-12, nan_ok=True), name


@given(case=evaluations())
def test_values_stay_between_zero_and_one_and_recall_never_falls_with_k(
    case: tuple[list[list[int]], list[list[int]], int],
) -> None:
    ranked, relevant, _ = case
    ks = range(1, len(ranked[0]) + 1)
    found = accuracy.accuracy_at(np.array(ranked), UserItems.from_lists(relevant), ks)
    for values in found.values():
        defined = values[~np.isnan(values)]
        assert ((defined >= 0) & (defined <= 1)).all()
    for name in ("recall", "hit_rate", "mrr", "map"):
        for k in ks[:-1]:
            assert not (found[f"{name}@{k}"] > found[f"{name}@{k + 1}"]).any()


@given(relevant=st.lists(st.integers(0, 20), min_size=1, max_size=6, unique=True), k=st.integers(1, 8))
def test_the_best_possible_list_has_ndcg_one(relevant: list[int], k: int) -> None:
    ranked = np.array([[*relevant, *range(30, 40)]])
    assert accuracy.ndcg(ranked, UserItems.from_lists([relevant]), k).tolist() == [1.0]


def test_one_call_for_all_gives_what_the_single_functions_give() -> None:
    generator = np.random.default_rng(3)
    ranked = generator.integers(-1, 30, (50, 8))
    relevant = UserItems.from_lists([generator.integers(0, 30, generator.integers(0, 6)) for _ in range(50)])
    together = accuracy.accuracy_at(ranked, relevant, [3, 8])
    single = {
        "hit_rate": accuracy.hit_rate,
        "recall": accuracy.recall,
        "precision": accuracy.precision,
        "ndcg": accuracy.ndcg,
        "mrr": accuracy.reciprocal_rank,
        "map": accuracy.average_precision,
    }
    assert list(together) == [f"{name}@{k}" for name in accuracy.DEFINITIONS for k in (3, 8)]
    for name, metric in single.items():
        for k in (3, 8):
            np.testing.assert_array_equal(together[f"{name}@{k}"], metric(ranked, relevant, k))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_metric_agrees_with_ranx_for_every_user() -> None:
    ranx = pytest.importorskip("ranx", reason="ranx, of the dev extra, is not installed")
    generator = np.random.default_rng(11)
    users, ks = 150, (1, 5, 10, 20)
    ranked = np.stack([generator.permutation(60)[:20] for _ in range(users)])
    relevant = [generator.choice(60, int(generator.integers(1, 25)), replace=False) for _ in range(users)]
    names = [f"user{user:03d}" for user in range(users)]
    qrels = ranx.Qrels({name: {str(item): 1 for item in row} for name, row in zip(names, relevant, strict=True)})
    run = ranx.Run(
        {
            name: {str(item): 20.0 - rank for rank, item in enumerate(row)}
            for name, row in zip(names, ranked, strict=True)
        }
    )
    ours = accuracy.accuracy_at(ranked, UserItems.from_lists(relevant), ks)
    ranx.evaluate(qrels, run, list(ours))
    for metric, values in ours.items():
        theirs = [run.scores[metric][name] for name in names]
        np.testing.assert_allclose(values, theirs, atol=1e-12, err_msg=metric)
