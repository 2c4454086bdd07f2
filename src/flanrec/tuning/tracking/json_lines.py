"""The curves of a stage in a file of JSON lines."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, TextIO

from flanrec.artefact import write_text_atomically
from flanrec.tuning.report import Evaluation, StepRecord, TrainingReport


class JsonLines:
    """Writes one JSON object per step and evaluation, for plotting.

    A line has ``"event": "step"`` with the fields of `StepRecord`, or ``"event": "evaluation"`` with
    those of `Evaluation`; a number that is not finite is null. A resumed run first drops the lines
    that a killed one wrote after its checkpoint, a new run all lines.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._stream: TextIO | None = None

    def on_step(self, record: StepRecord) -> None:
        """Append the step."""
        self._write("step", record)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Append the evaluation."""
        self._write("evaluation", evaluation)

    def on_end(self, report: TrainingReport) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _write(self, event: str, fact: StepRecord | Evaluation) -> None:
        if self._stream is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._drop(event, fact.step)
            self._stream = self.path.open("a", encoding="utf-8")
        self._stream.write(json.dumps(_finite({"event": event, **dataclasses.asdict(fact)}), ensure_ascii=False) + "\n")
        self._stream.flush()

    def _drop(self, event: str, step: int) -> None:
        """Drop the lines that are about to be written again; those of a step come before its evaluation."""
        if not self.path.is_file():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                old = json.loads(line)
                earlier = (old["step"], old["event"] == "evaluation") < (step, event == "evaluation")
            except (ValueError, KeyError, TypeError):
                continue  # the line that the kill cut short
            if earlier:
                kept.append(line + "\n")
        write_text_atomically(self.path, "".join(kept))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
