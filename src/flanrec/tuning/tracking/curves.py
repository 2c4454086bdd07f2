"""What a tracking library is told of a stage: numbers by name, and samples as a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flanrec.tuning.report import Evaluation, Sample, StepRecord, TrainingReport

SAMPLE_COLUMNS = ("prompt", "predicted", "expected")


class Curves:
    """Makes numbers by name of steps and evaluations; as a callback, hands them on.

    The names are ``loss/OBJECTIVE``, ``learning_rate/GROUP``, ``gradient_norm``, ``examples_per_second`` and
    ``evaluation/METRIC``, with ``_at_`` for the ``@`` that most libraries refuse.

    Parameters
    ----------
    log
        Called with a step and its numbers.
    show
        Called with a step and its samples, where there are some.
    """

    def __init__(
        self,
        log: Callable[[int, dict[str, float]], None],
        show: Callable[[int, Sequence[Sample]], None],
    ) -> None:
        self.log = log
        self.show = show
        self._before: StepRecord | None = None

    def on_step(self, record: StepRecord) -> None:
        """Hand on the step's loss, gradient norm, rates and speed."""
        numbers = {f"loss/{record.objective}": record.loss, "gradient_norm": record.gradient_norm}
        numbers |= {f"learning_rate/{name}": rate for name, rate in record.rates.items()}
        before, self._before = self._before, record
        if before is not None and record.seconds > before.seconds:
            numbers["examples_per_second"] = (record.examples - before.examples) / (record.seconds - before.seconds)
        self.log(record.step, numbers)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Hand on the metrics, and the samples."""
        self._before = None  # the time that the evaluation took is no step's
        named = {f"evaluation/{name.replace('@', '_at_')}": value for name, value in evaluation.metrics.items()}
        self.log(evaluation.step, named)
        if evaluation.samples:
            self.show(evaluation.step, evaluation.samples)

    def on_end(self, report: TrainingReport) -> None:
        """Nothing: the library's run goes on with the next stage."""


def sample_rows(samples: Sequence[Sample]) -> list[list[str]]:
    """A row a sample, with `SAMPLE_COLUMNS`; the predicted titles are numbered lines of one cell."""
    return [
        [one.prompt, "\n".join(f"{at}. {title}" for at, title in enumerate(one.predicted, start=1)), one.expected]
        for one in samples
    ]


def samples_text(samples: Sequence[Sample]) -> str:
    """The samples as Markdown in which nothing of theirs is markup."""
    parts = []
    for row in sample_rows(samples):
        told = "\n\n".join(f"{name}:\n{cell}" for name, cell in zip(SAMPLE_COLUMNS, row, strict=True))
        parts.append("\n".join(f"    {line}" for line in told.split("\n")))
    return "\n\n---\n\n".join(parts)


def flat(facts: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Facts by dotted name, each as a text.

    >>> dict(flat({"data": {"users": 3}, "languages": ["en"], "name": "a"}))
    {'data.users': '3', 'languages': '["en"]', 'name': 'a'}
    """
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{path}{name}.")
        else:
            yield path + name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
