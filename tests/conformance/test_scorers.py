"""What every source of candidates must do. A new source is tested by adding it to `SOURCES`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from flanrec.candidates import (
    Blend,
    Covisits,
    Ease,
    Factors,
    ItemNeighbours,
    Popularity,
    Source,
    Transitions,
    UserNeighbours,
)
from flanrec.catalogue.arrays import load_arrays, save_arrays
from flanrec.data import Sequences
from flanrec.errors import CheckpointError, DataError

SOURCES: list[Source] = [
    Popularity(),
    Popularity(half_life_days=0.5),
    ItemNeighbours(neighbours=3),
    ItemNeighbours(weighting="bm25", neighbours=3),
    Ease(l2=2.0, decay=1.0),
    Ease(l2=2.0, decay=0.8),
    Ease(l2=2.0, max_items=5),
    Transitions(),
    Transitions(window=1, damping=0.0),
    Transitions(backward=True),
    Covisits(span_seconds=1e5),
    Covisits(window=2, newest=1, damping=0.0),
    UserNeighbours(neighbours=4),
    UserNeighbours(neighbours=2, newest=1, damping=0.0),
    Blend(ease=Ease(l2=2.0)),
    Factors(embedding_size=4),
    Factors(embedding_size=4, confidence=10.0),
]
N_ITEMS = 12


def history(*items: int) -> np.ndarray:
    return np.array(items, dtype=np.int64)


def log_of(histories: Sequence[np.ndarray], times: Sequence[np.ndarray], n_items: int = N_ITEMS) -> Sequences:
    lengths = [len(each) for each in histories]
    items = np.concatenate([history(), *histories])
    return Sequences(
        [f"u{user}" for user in range(len(histories))],
        list(range(n_items)),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items,
        np.full(len(items), np.nan, dtype=np.float32),
        np.concatenate([np.zeros(0), *times]),
    )


def draw(seed: int = 0, users: int = 30, n_items: int = N_ITEMS) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Histories with repeats, some empty, whose times are unknown here and there."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.ones(n_items))
    histories = [rng.choice(n_items, size=rng.integers(0, 9), p=share).astype(np.int64) for _ in range(users)]
    times = [np.sort(rng.uniform(1e9, 1e9 + 3e5, len(each))) for each in histories]
    for each in times:
        each[rng.random(len(each)) < 0.1] = np.nan
    return histories, times


ASKED = [history(3, 1, 4), history(), history(0), history(5, 5, 2, 5), history(*range(N_ITEMS))]


@pytest.fixture(params=SOURCES, ids=lambda source: repr(source))
def source(request: pytest.FixtureRequest) -> Source:
    if isinstance(request.param, Factors):
        pytest.importorskip("implicit")
    return request.param


@pytest.mark.filterwarnings("ignore::RuntimeWarning:implicit.*")
class TestEveryScorer:
    def test_scores_every_item_for_every_history(self, source: Source) -> None:
        scorer = source.fit(log_of(*draw()))
        scores = scorer.scores(ASKED)
        assert scores.shape == (len(ASKED), N_ITEMS)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        assert scorer.n_items == N_ITEMS
        assert scorer.name == source.name

    def test_says_something_about_a_user_it_has_never_seen(self, source: Source) -> None:
        scores = source.fit(log_of(*draw())).scores([history(*range(N_ITEMS // 2))])
        assert np.ptp(scores) > 0

    def test_no_users_get_no_rows(self, source: Source) -> None:
        assert source.fit(log_of(*draw())).scores([]).shape == (0, N_ITEMS)

    def test_a_history_scores_alike_alone_and_among_others(self, source: Source) -> None:
        scorer = source.fit(log_of(*draw()))
        together = scorer.scores(ASKED)
        for user, asked in enumerate(ASKED):
            np.testing.assert_allclose(scorer.scores([asked])[0], together[user], rtol=1e-5, atol=1e-6)

    def test_asking_leaves_histories_as_they_are(self, source: Source) -> None:
        asked = [each.copy() for each in ASKED]
        source.fit(log_of(*draw())).scores(asked)
        assert all(np.array_equal(one, other) for one, other in zip(asked, ASKED, strict=True))

    def test_the_order_of_users_in_the_log_is_of_no_matter(self, source: Source) -> None:
        histories, times = draw()
        order = np.random.default_rng(1).permutation(len(histories))
        one = source.fit(log_of(histories, times))
        other = source.fit(log_of([histories[at] for at in order], [times[at] for at in order]))
        np.testing.assert_allclose(one.scores(ASKED), other.scores(ASKED), rtol=1e-4, atol=1e-5)

    def test_fitting_twice_gives_the_same_bits(self, source: Source) -> None:
        one, other = (source.fit(log_of(*draw())).scores(ASKED) for _ in range(2))
        assert np.array_equal(one, other)

    @pytest.mark.parametrize("seed", range(5))
    def test_an_update_equals_fitting_anew(self, source: Source, seed: int) -> None:
        histories, times = draw(seed)
        cuts = [np.random.default_rng(user).integers(0, len(each) + 1) for user, each in enumerate(histories)]
        before = [each[:cut] for each, cut in zip(histories, cuts, strict=True)]
        first = log_of(before, [each[:cut] for each, cut in zip(times, cuts, strict=True)])
        later = log_of(*([each[cut:] for each, cut in zip(what, cuts, strict=True)] for what in (histories, times)))
        updated = source.fit(first).update(later, first)
        expected = source.fit(log_of(histories, times))
        np.testing.assert_allclose(updated.scores(ASKED), expected.scores(ASKED), rtol=1e-4, atol=1e-4)

    def test_an_update_with_new_users_and_new_items_equals_fitting_anew(self, source: Source) -> None:
        histories, times = draw()
        more, more_times = draw(seed=7, users=10, n_items=N_ITEMS + 3)
        updated = source.fit(log_of(histories, times)).update(log_of(more, more_times, N_ITEMS + 3))
        expected = source.fit(log_of(histories + more, times + more_times, N_ITEMS + 3))
        assert updated.n_items == N_ITEMS + 3
        asked = [*ASKED, history(N_ITEMS + 2, 1)]
        np.testing.assert_allclose(updated.scores(asked), expected.scores(asked), rtol=1e-4, atol=1e-4)

    def test_an_update_leaves_the_scorer_it_started_from(self, source: Source) -> None:
        scorer = source.fit(log_of(*draw()))
        held = scorer.scores(ASKED)
        scorer.update(log_of(*draw(seed=3)))
        assert np.array_equal(scorer.scores(ASKED), held)

    def test_an_update_by_nothing_changes_nothing(self, source: Source) -> None:
        scorer = source.fit(log_of(*draw()))
        np.testing.assert_allclose(scorer.update(log_of([], [])).scores(ASKED), scorer.scores(ASKED), rtol=1e-5)

    def test_new_items_without_events_leave_other_comparisons(self, source: Source) -> None:
        scorer = source.fit(log_of(*draw()))
        grown = scorer.update(log_of([], [], N_ITEMS + 2)).scores(ASKED)
        assert grown.shape == (len(ASKED), N_ITEMS + 2)
        assert np.isfinite(grown).all()

    def test_a_catalogue_that_shrinks_is_refused(self, source: Source) -> None:
        with pytest.raises(DataError, match="whole catalogue"):
            source.fit(log_of(*draw())).update(log_of([], [], N_ITEMS - 1))

    def test_earlier_histories_must_be_one_a_user(self, source: Source) -> None:
        if isinstance(source, Popularity):
            pytest.skip("popularity needs no earlier events")
        with pytest.raises(DataError, match="one a user"):
            source.fit(log_of(*draw())).update(log_of([history(1)], [np.zeros(1)]), before=log_of([], []))

    @pytest.mark.parametrize("strange", [N_ITEMS, -1])
    def test_an_item_outside_the_catalogue_is_named(self, source: Source, strange: int) -> None:
        with pytest.raises(DataError, match=f"item {strange}"):
            source.fit(log_of(*draw())).scores([history(1), history(2, strange)])

    def test_saved_and_loaded_it_scores_and_updates_the_same(self, source: Source, tmp_path: Path) -> None:
        scorer = source.fit(log_of(*draw()))
        save_arrays(tmp_path / "scorer.npz", scorer.arrays())
        loaded = source.from_arrays(load_arrays(tmp_path / "scorer.npz", dict(source.layout)))
        assert np.array_equal(loaded.scores(ASKED), scorer.scores(ASKED))
        more = log_of(*draw(seed=3))
        assert np.array_equal(loaded.update(more).scores(ASKED), scorer.update(more).scores(ASKED))

    def test_its_layout_names_its_arrays(self, source: Source) -> None:
        arrays = source.fit(log_of(*draw())).arrays()
        assert {name: array.ndim for name, array in arrays.items()} == dict(source.layout)
        assert all(array.dtype != object for array in arrays.values())

    def test_a_missing_array_is_named(self, source: Source) -> None:
        arrays = source.fit(log_of(*draw())).arrays()
        for name in arrays:
            with pytest.raises(CheckpointError, match=name):
                source.from_arrays({other: array for other, array in arrays.items() if other != name})

    def test_shortened_arrays_are_refused(self, source: Source) -> None:
        arrays = source.fit(log_of(*draw())).arrays()
        for name, array in arrays.items():
            if len(array) > 1:
                with pytest.raises(CheckpointError):
                    source.from_arrays({**arrays, name: array[:-1]})

    def test_a_catalogue_of_one_item(self, source: Source) -> None:
        scores = source.fit(log_of([history(0, 0), history(0)], [np.zeros(2), np.zeros(1)], 1)).scores([history(0)])
        assert scores.shape == (1, 1)
        assert np.isfinite(scores).all()

    @pytest.mark.parametrize("users", [0, 3])
    def test_a_log_without_events_favours_nothing(self, source: Source, users: int) -> None:
        scorer = source.fit(log_of([history()] * users, [np.zeros(0)] * users))
        scores = scorer.scores(ASKED)
        assert scores.shape == (len(ASKED), N_ITEMS)
        assert np.isfinite(scores).all()
        assert np.ptp(scores) == 0
        expected = source.fit(log_of(*draw())).scores(ASKED)
        np.testing.assert_allclose(scorer.update(log_of(*draw())).scores(ASKED), expected, rtol=1e-4, atol=1e-4)

    def test_a_catalogue_without_items(self, source: Source) -> None:
        assert source.fit(log_of([], [], 0)).scores([history(), history()]).shape == (2, 0)


def test_no_source_needs_torch() -> None:
    code = "import sys, flanrec.candidates; sys.exit('torch' in sys.modules or 'implicit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
