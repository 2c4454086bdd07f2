from __future__ import annotations

from collections.abc import Sequence

import pytest

from flanrec.tuning import Evaluation, Sample, StepRecord
from flanrec.tuning.tracking.curves import Curves, sample_rows, samples_text


def record(step: int, seconds: float) -> StepRecord:
    return StepRecord(step, 9, "titles", 1.5, 0.25, {"words": 0.1}, 8 * step, seconds)


def test_steps_and_evaluations_become_numbers_by_name() -> None:
    told: list[tuple[int, dict[str, float]]] = []
    shown: list[tuple[int, int]] = []

    def show(step: int, samples: Sequence[Sample]) -> None:
        shown.append((step, len(samples)))

    curves = Curves(lambda step, numbers: told.append((step, numbers)), show)
    curves.on_step(record(1, 2.0))
    curves.on_step(record(2, 4.0))
    curves.on_evaluation(Evaluation(2, {"ndcg@10": 0.3}, True, [Sample("Next?", ("A",), "B")]))
    curves.on_step(record(3, 60.0))  # the evaluation took nearly all of that
    curves.on_evaluation(Evaluation(3, {"ndcg@10": 0.2}, False))
    plain = {"loss/titles": 1.5, "gradient_norm": 0.25, "learning_rate/words": 0.1}
    assert told == [
        (1, plain),
        (2, {**plain, "examples_per_second": 4.0}),
        (2, {"evaluation/ndcg_at_10": 0.3}),
        (3, plain),
        (3, {"evaluation/ndcg_at_10": 0.2}),
    ]
    assert shown == [(2, 1)]


def test_a_sample_is_a_row_with_the_titles_as_a_numbered_list() -> None:
    assert sample_rows([Sample("Next?", ("A", "B"), "B")]) == [["Next?", "1. A\n2. B", "B"]]


@pytest.mark.parametrize("title", ["<img src=x onerror=alert(1)>", "# no heading", "```"])
def test_titles_are_no_markup(title: str) -> None:
    text = samples_text([Sample("Next?", (title,), title)])
    assert all(line.startswith("    ") for line in text.splitlines() if title in line)
