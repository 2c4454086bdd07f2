"""Old examples beside new ones."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_run import Regression, Tiny

from flanrec.errors import SettingsError
from flanrec.tuning import Weighted
from flanrec.tuning.batches import BatchPlan
from flanrec.tuning.objectives.replayed import Replayed
from flanrec.tuning.processes import Processes


class Marked(Regression):
    """Draws rows from a range of its own."""

    def __init__(self, model: Tiny, first: int, *, apart: bool = False) -> None:
        super().__init__(model)
        self.first, self.apart = first, apart

    def draw(self, rng: np.random.Generator, size: int) -> list[tuple[int, float]]:
        return [(self.first + int(row), 0.0) for row in rng.integers(0, 10, size)]


@pytest.mark.parametrize("apart", [False, True])
def test_each_example_is_old_with_the_given_chance(apart: bool) -> None:
    model = Tiny()
    objective = Replayed(Marked(model, 0, apart=apart), Marked(model, 10, apart=apart), 0.25)
    assert (objective.name, objective.apart) == ("regression", apart)
    plan = BatchPlan([Weighted(objective)], seed=1, batch_size=8, accumulation=1, processes=Processes())
    drawn = [row for step in range(1, 201) for slice_ in plan.draw(step)[2].values() for row, _ in slice_]
    assert len(drawn) == 1600
    assert np.mean([row >= 10 for row in drawn]) == pytest.approx(0.25, abs=0.04)
    assert plan.draw(7)[2] == plan.draw(7)[2]


def test_the_loss_is_that_of_the_objective() -> None:
    model = Tiny(dropout=0.0)
    new, old = Marked(model, 0), Marked(model, 10)
    examples = [(3, 1.0), (14, -1.0)]
    objective = Replayed(new, old, 0.5)
    assert objective.loss(objective.prepare(examples)).total.item() == new.loss(examples).total.item()


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 9), (1.0, 10, 19)])
def test_a_share_of_none_or_all_draws_from_one_side(share: float, least: int, most: int) -> None:
    model = Tiny()
    rows = [row for row, _ in Replayed(Marked(model, 0), Marked(model, 10), share).draw(np.random.default_rng(0), 50)]
    assert len(rows) == 50
    assert least <= min(rows) <= max(rows) <= most


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(SettingsError, match="between 0 and 1"):
        Replayed(Marked(Tiny(), 0), Marked(Tiny(), 10), 1.5)
