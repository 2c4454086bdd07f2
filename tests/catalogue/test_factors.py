"""Item vectors from the log: they say which item follows which."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from flanrec.catalogue.factors import log_share, rotation, transition_factors
from flanrec.data.dataset import Dataset
from flanrec.data.sequences import Sequences


def sequences_of(histories: list[list[int]], n_items: int) -> Sequences:
    offsets = np.cumsum([0, *map(len, histories)])
    items = np.array([item for history in histories for item in history], dtype=np.int64)
    nothing = np.full(len(items), np.nan)
    return Sequences(list(range(len(histories))), list(range(n_items)), offsets, items, nothing.astype("f4"), nothing)


def test_a_planted_cycle_is_found_again(small_dataset: Dataset) -> None:
    factors = transition_factors(small_dataset.sequences(), rank=28, window=1, damping=1.0)
    follower = (factors.before @ factors.after.T).argmax(dim=1)
    assert follower[:28].tolist() == [(item + 1) % 28 for item in range(28)]


def test_a_wider_window_ranks_near_followers_before_far_ones(small_dataset: Dataset) -> None:
    factors = transition_factors(small_dataset.sequences(), rank=30, window=3, damping=5.0)
    ranked = (factors.before @ factors.after.T).argsort(dim=1, descending=True)
    hits = sum(ranked[item, :3].tolist() == [(item + step) % 28 for step in (1, 2, 3)] for item in range(28))
    assert hits >= 24  # users' ends thin some pairs out


def test_factors_of_full_rank_are_the_log_ratios_by_hand() -> None:
    # 0 -> 1 once at distance 1, 1 -> 2 twice, 0 -> 2 once at distance 2; items 0..3 with one event added each.
    factors = transition_factors(sequences_of([[0, 1, 2], [1, 2]], 4), rank=4, window=2, damping=7.0)
    share = np.array([2, 3, 3, 1]) / 9
    expected = np.zeros((4, 4))
    for before, after, count in ((0, 1, 1.0), (1, 2, 2.0), (0, 2, 0.5)):
        expected[before, after] = math.log1p(count / (7.0 * share[after]))
    np.testing.assert_allclose(factors.before @ factors.after.T, expected, atol=1e-5)
    np.testing.assert_allclose(factors.log_share, np.log(share), atol=1e-6)


def test_transitions_do_not_cross_users() -> None:
    factors = transition_factors(sequences_of([[0, 1], [2, 3]], 4), rank=4, window=3, damping=1.0)
    product = factors.before @ factors.after.T
    assert float(product[1, 2].abs()) < 1e-5
    assert float(product[0, 1]) > 1


def test_untouched_items_have_no_factors(small_dataset: Dataset) -> None:
    factors = transition_factors(small_dataset.sequences(), rank=16)
    assert float(factors.before[28:].abs().max()) < 1e-5
    assert float(factors.after[28:].abs().max()) < 1e-4
    assert float(factors.before[:28].norm(dim=1).min()) > 0.01


@pytest.mark.parametrize(("histories", "n_items"), [([], 0), ([], 3), ([[0], [2]], 3), ([[0]], 1)])
def test_a_log_without_transitions_gives_zeros(histories: list[list[int]], n_items: int) -> None:
    factors = transition_factors(sequences_of(histories, n_items), rank=8)
    assert factors.before.shape == factors.after.shape == (n_items, max(1, n_items))
    assert not factors.before.any()
    assert not factors.after.any()
    assert factors.log_share.exp().sum() == pytest.approx(1 if n_items else 0)


def test_the_best_low_rank_factors_come_out_for_every_seed(small_dataset: Dataset) -> None:
    first, second = (transition_factors(small_dataset.sequences(), rank=8, seed=seed) for seed in (0, 1))
    torch.testing.assert_close(first.before @ first.after.T, second.before @ second.after.T, atol=0.02, rtol=0.02)
    again = transition_factors(small_dataset.sequences(), rank=8, seed=0)
    assert torch.equal(first.before, again.before)


def test_shares_count_one_event_more_for_everything() -> None:
    shares = log_share(sequences_of([[0, 0, 1]], 3)).exp()
    torch.testing.assert_close(shares, torch.tensor([3 / 6, 2 / 6, 1 / 6]))


def test_a_rotation_keeps_all_products() -> None:
    vectors = torch.randn(5, 7, generator=torch.Generator().manual_seed(3))
    spread = vectors @ rotation(7, 32)
    assert spread.shape == (5, 32)
    torch.testing.assert_close(spread @ spread.T, vectors @ vectors.T, atol=1e-4, rtol=1e-4)
    assert torch.equal(rotation(7, 32), rotation(7, 32))
