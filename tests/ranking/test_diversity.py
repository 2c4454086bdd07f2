from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.errors import DataError, SettingsError
from flanrec.metrics.lists import EMPTY, FloatArray, IntegerArray
from flanrec.ranking.diversity import cosine, dpp, mmr

SEEDS = st.integers(0, 2**32 - 1)
BALANCES = st.floats(0, 1)
METHODS = pytest.mark.parametrize("rerank", [mmr, dpp])


def draw(
    seed: int, users: int = 3, width: int = 7, items: int = 12, dims: int = 3
) -> tuple[FloatArray, FloatArray, IntegerArray]:
    """Scores, vectors and candidates; some slots empty, scores in no order."""
    rng = np.random.default_rng(seed)
    candidates = np.array([rng.permutation(items)[:width] for _ in range(users)])
    candidates[rng.random(candidates.shape) < 0.2] = EMPTY
    return rng.normal(size=candidates.shape), rng.normal(size=(items, dims)), candidates


def plain(scores: FloatArray, candidates: IntegerArray, k: int) -> list[list[int]]:
    rows = []
    for values, items in zip(scores, candidates, strict=True):
        best = [int(items[at]) for at in np.argsort(-values, kind="stable") if items[at] != EMPTY][:k]
        rows.append(best + [EMPTY] * (k - len(best)))
    return rows


def relevance(values: FloatArray) -> FloatArray:
    return (values - values.min()) / max(values.max() - values.min(), 1e-300)


@METHODS
@given(seed=SEEDS, k=st.integers(1, 9))
def test_balance_zero_is_the_plain_order(rerank, seed: int, k: int) -> None:
    scores, vectors, candidates = draw(seed)
    assert rerank(scores, vectors, candidates, k, balance=0).tolist() == plain(scores, candidates, k)


@METHODS
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_balance_zero_is_the_plain_order_for_any_finite_scores(rerank, values: list[float]) -> None:
    candidates = np.arange(len(values))[None, :]
    scores = np.array([values])
    result = rerank(scores, np.ones((len(values), 1)), candidates, len(values), balance=0)
    assert result.tolist() == plain(scores, candidates, len(values))


@METHODS
@given(seed=SEEDS, balance=BALANCES, k=st.integers(1, 9))
def test_a_list_has_candidates_only_each_once_and_as_many_as_there_are(rerank, seed, balance, k) -> None:
    scores, vectors, candidates = draw(seed)
    for row, offered in zip(rerank(scores, vectors, candidates, k, balance), candidates, strict=True):
        there = set(offered.tolist()) - {EMPTY}
        listed = row[row != EMPTY].tolist()
        assert len(listed) == len(set(listed)) == min(k, len(there))
        assert set(listed) <= there
        assert row[: len(listed)].tolist() == listed


@given(seed=SEEDS, balance=BALANCES)
def test_mmr_agrees_with_a_loop_over_items(seed: int, balance: float) -> None:
    scores, vectors, candidates = draw(seed)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for values, offered, row in zip(scores, candidates, mmr(scores, vectors, candidates, 5, balance), strict=True):
        places = [at for at in range(len(offered)) if offered[at] != EMPTY]
        level = dict(zip(places, relevance(values[places]), strict=True)) if places else {}
        listed: list[int] = []
        for item in row[row != EMPTY].tolist():

            def worth(at: int, listed: list[int] = listed, level: dict = level, offered=offered) -> float:
                nearest = max((float(unit[offered[at]] @ unit[one]) for one in listed), default=0.0)
                return (1 - balance) * level[at] - balance * nearest

            taken = next(at for at in places if offered[at] == item)
            assert worth(taken) >= max(map(worth, places)) - 1e-9
            places.remove(taken)
            listed.append(item)


@given(seed=SEEDS, balance=st.floats(0.05, 1))
def test_dpp_takes_what_adds_most_to_the_log_determinant(seed: int, balance: float) -> None:
    # Five dimensions, four items: no determinant is zero.
    scores, vectors, candidates = draw(seed, dims=5)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for values, offered, row in zip(scores, candidates, dpp(scores, vectors, candidates, 4, balance), strict=True):
        places = [at for at in range(len(offered)) if offered[at] != EMPTY]
        level = dict(zip(places, relevance(values[places]), strict=True)) if places else {}
        listed: list[int] = []
        for item in row[row != EMPTY].tolist():
            taken = next(at for at in places if offered[at] == item)

            def worth(at: int, listed: list[int] = listed, level: dict = level, offered=offered) -> float:
                some = [int(offered[one]) for one in [*listed, at]]
                volume = np.linalg.slogdet(unit[some] @ unit[some].T)[1]
                total = sum(level[one] for one in [*listed, at])
                return (1 - balance) * total + balance * float(volume)

            assert worth(taken) >= max(map(worth, places)) - 1e-7
            places.remove(taken)
            listed.append(taken)


def test_dpp_attains_the_best_subset_where_groups_are_orthogonal() -> None:
    # Two items of each of three directions: the best three are the better one of each.
    vectors = np.repeat(np.eye(3), 2, axis=0)
    scores = np.array([[0.9, 0.8, 0.7, 0.6, 0.5, 0.4]])
    assert dpp(scores, vectors, np.arange(6)[None, :], 3, balance=0.5).tolist() == [[0, 2, 4]]


def test_dpp_sees_that_an_item_is_a_mixture_of_two_others_and_mmr_does_not() -> None:
    vectors = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.7, 0.7, 0.0], [0.75, 0.0, 0.66]])
    scores = np.array([[1.0, 0.9, 0.5, 0.49]])
    every = np.arange(4)[None, :]
    assert dpp(scores, vectors, every, 3, balance=0.2).tolist() == [[0, 1, 3]]
    assert mmr(scores, vectors, every, 3, balance=0.2).tolist() == [[0, 1, 2]]


@METHODS
def test_copies_come_last_and_in_order_of_relevance(rerank) -> None:
    vectors = np.array([[1.0, 0.0]] * 4 + [[0.0, 1.0]])
    scores = np.array([[0.9, 0.8, 0.7, 0.6, 0.0]])
    assert rerank(scores, vectors, np.arange(5)[None, :], 5, balance=0.9).tolist() == [[0, 4, 1, 2, 3]]


@METHODS
def test_a_similarity_function_does_what_vectors_do(rerank) -> None:
    scores, vectors, candidates = draw(7)
    expected = rerank(scores, vectors, candidates, 5, 0.4)
    assert rerank(scores, cosine(vectors), candidates, 5, 0.4).tolist() == expected.tolist()


@METHODS
@settings(max_examples=20)
@given(seed=SEEDS)
def test_a_user_s_list_does_not_depend_on_the_others(rerank, seed: int) -> None:
    scores, vectors, candidates = draw(seed, users=4)
    together = rerank(scores, vectors, candidates, 5, 0.5)
    alone = [rerank(scores[u : u + 1], vectors, candidates[u : u + 1], 5, 0.5)[0].tolist() for u in range(4)]
    assert together.tolist() == alone


@METHODS
def test_repeated_candidates_and_scores_that_are_not_finite_are_left_out(rerank) -> None:
    scores = np.array([[1.0, 2.0, np.nan, -np.inf]])
    assert rerank(scores, np.eye(4), np.array([[3, 3, 1, 2]]), 4, 0.5).tolist() == [[3, EMPTY, EMPTY, EMPTY]]


@METHODS
def test_no_candidates_give_empty_lists(rerank) -> None:
    assert rerank(np.zeros((2, 0)), np.eye(2), np.zeros((2, 0), np.int64), 2, 0.5).tolist() == [[EMPTY] * 2] * 2


@METHODS
def test_what_cannot_work_is_refused(rerank) -> None:
    scores, vectors, candidates = draw(1)
    with pytest.raises(SettingsError, match="balance must be between"):
        rerank(scores, vectors, candidates, 3, balance=1.5)
    with pytest.raises(SettingsError, match="k must be at least 1"):
        rerank(scores, vectors, candidates, 0)
    with pytest.raises(DataError, match="one score a candidate"):
        rerank(scores[:, 1:], vectors, candidates, 3)
    with pytest.raises(DataError, match="finite matrix"):
        rerank(scores, np.full((12, 2), np.nan), candidates, 3)
