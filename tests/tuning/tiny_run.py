"""A run of some milliseconds a step, for the tests of the loop; as a program, a run to be killed.

    python tiny_run.py FOLDER OPTIMISER TORN_STEP

kills itself in the middle of writing the checkpoint of TORN_STEP, or runs slowly if that is 0.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from flanrec.tuning import LossSum, ParameterGroup, Trainer, TrainerSettings, Weighted


class Tiny(nn.Module):
    """Two layers with dropout, and a table of which each batch touches some rows."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.table = nn.Embedding(20, 8)
        self.hidden = nn.Linear(8, 8)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(8, 1)
        self.frozen = nn.Linear(3, 3).requires_grad_(False)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.out(self.dropout(torch.tanh(self.hidden(self.table(rows)))))[:, 0]


class Regression:
    """Learn a number for each row; examples are (row, number)."""

    apart = False

    def __init__(self, model: Tiny, name: str = "regression", slope: float = 0.1) -> None:
        self.model, self.name, self.slope = model, name, slope
        self.before_loss: Callable[[list[Any]], None] = lambda examples: None

    def draw(self, rng: np.random.Generator, size: int) -> list[tuple[int, float]]:
        rows = rng.integers(0, 20, size)
        return [(int(row), self.slope * float(row)) for row in rows]

    def prepare(self, examples: list[tuple[int, float]]) -> list[tuple[int, float]]:
        return examples

    def loss(self, examples: list[tuple[int, float]]) -> LossSum:
        self.before_loss(examples)
        rows = torch.tensor([row for row, _ in examples])
        wanted = torch.tensor([number for _, number in examples])
        return LossSum(((self.model(rows) - wanted) ** 2).sum(), len(examples))


class Run:
    """A trainer with its model and objectives within reach."""

    def __init__(
        self, folder: Path | None = None, *, dropout: float = 0.2, rate: float = 0.02, **settings: Any
    ) -> None:
        self.model = Tiny(dropout)
        self.first = Regression(self.model)
        self.second = Regression(self.model, "reversed", -0.1)
        self.evaluate: Callable[[], dict[str, float]] | None = self.fit_of_first
        self.arguments: dict[str, Any] = {}
        self.folder, self.rate = folder, rate
        chosen = {"steps": 24, "batch_size": 4, "evaluate_every": 4, "average": 0.9, "seed": 7, **settings}
        self.settings = TrainerSettings(**chosen)

    @torch.no_grad()
    def fit_of_first(self) -> dict[str, float]:
        rows = torch.arange(20)
        return {"fit": -float(((self.model(rows) - 0.1 * rows) ** 2).mean())}

    def trainer(self) -> Trainer:
        groups = [
            ParameterGroup("table", dict(self.model.table.named_parameters()), 2 * self.rate),
            ParameterGroup("layers", {n: p for n, p in self.model.named_parameters() if "table" not in n}, self.rate),
        ]
        return Trainer(
            {"model": self.model}, groups, [Weighted(self.first, 3.0), Weighted(self.second, 1.0)], self.settings,
            evaluate=self.evaluate, primary="fit" if self.evaluate else "", folder=self.folder, **self.arguments,
        )  # fmt: skip

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.model.named_parameters()}


def main() -> None:
    torch.set_num_threads(1)
    folder, optimiser, torn = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    run = Run(folder, optimizer=optimiser, checkpoint_every=3 if torn else 1)
    if torn:
        import flanrec.tuning.checkpoints as module

        whole = module.save_file

        def half(tensors: Any, path: Path) -> None:
            whole(tensors, path)
            if f"step-{torn:08d}" in str(path) and path.name == "optimiser.safetensors":
                path.write_bytes(path.read_bytes()[:100])
                os.kill(os.getpid(), signal.SIGKILL)

        module.save_file = half
    else:
        run.first.before_loss = run.second.before_loss = lambda examples: time.sleep(0.02)
    run.trainer().fit()
    print("ran to the end")


if __name__ == "__main__":
    main()
