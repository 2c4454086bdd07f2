"""Gates against answers that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flanrec.errors import DataError
from flanrec.evaluation.gating import GATES, gate_precision, gate_table


def test_a_gate_is_counted_as_one_does_by_hand() -> None:
    chances = [0.97, 0.91, 0.85, 0.5, 0.12, 0.04]
    liked = [1, 0, 1, 1, 0, 1]
    wide, narrow = gate_precision(range(6), liked, chances, [0.8, 0.9])
    assert (wide.pairs, wide.labelled, wide.yes, wide.no) == (6, 5, 3, 2)
    assert wide.precision.value == pytest.approx(3 / 5)
    assert wide.yes_precision.value == pytest.approx(2 / 3)
    assert wide.no_precision.value == pytest.approx(1 / 2)
    assert (narrow.labelled, narrow.precision.value) == (3, pytest.approx(1 / 3))


def test_of_calibrated_probabilities_a_gate_is_right_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    chances = rng.random(20_000)
    liked = rng.random(20_000) < chances
    for one in gate_precision(rng.integers(500, size=20_000), liked, chances, resamples=100):
        assert one.precision.low <= (1 + one.gate) / 2 <= one.precision.high + 0.005
        assert one.precision.value > one.gate


def test_a_gate_that_nothing_passes_has_no_precision() -> None:
    found = gate_precision([1, 2], [1, 0], [0.5, 0.5], [0.9])
    assert (found[0].labelled, found[0].precision.count) == (0, 0)
    assert math.isnan(found[0].precision.value)
    assert gate_table(found).row_count == 1
    assert gate_precision([], [], [])[0].pairs == 0


def test_the_record_has_every_gate_and_plain_values() -> None:
    found = [one.to_dict() for one in gate_precision([1, 2], [1, 0], [0.99, 0.01])]
    assert [one["gate"] for one in found] == list(GATES)
    assert found[0]["precision"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_lists_of_other_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="1 users, 2 answers and 2 probabilities"):
        gate_precision([1], [1, 0], [0.9, 0.1])
