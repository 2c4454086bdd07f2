"""The loop on the real offline checkpoint, with an adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from flanrec.backbone import Backbone, load_backbone
from flanrec.backbone.adapters import AdapterSettings, add_adapter
from flanrec.tuning import LossSum, ParameterGroup, Trainer, TrainerSettings, Weighted

PAIRS = [
    ("Which genre is the movie Alien (1979)?", "horror"),
    ("Which genre is the movie Airplane! (1980)?", "comedy"),
    ("Which genre is the movie The Godfather (1972)?", "crime"),
    (
        "A user liked Star Wars (1977) and Blade Runner (1982). Which movie comes next?",
        "The Empire Strikes Back (1980)",
    ),
    ("A user liked Toy Story (1995). Which movie comes next?", "A Bug's Life (1998)"),
    ("Would a user who liked Fargo (1996) like The Big Lebowski (1998)?", "yes"),
]


class Answers:
    name = "answers"
    apart = True

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    def draw(self, rng: np.random.Generator, size: int) -> list[tuple[str, str]]:
        return [PAIRS[index] for index in rng.integers(0, len(PAIRS), size)]

    def prepare(self, examples: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return examples

    def loss(self, examples: list[tuple[str, str]]) -> LossSum:
        ids, mask = self.backbone.encode_texts([prompt for prompt, _ in examples])
        labels, kept = self.backbone.encode_texts([answer for _, answer in examples])
        labels = labels.masked_fill(kept == 0, -100)
        logits = self.backbone.model(input_ids=ids, attention_mask=mask, labels=labels).logits
        return LossSum(
            nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum"), int(kept.sum())
        )


def trainer(folder: Path | None = None, *, dropout: bool = True, **settings: object) -> Trainer:
    torch.manual_seed(0)
    backbone = add_adapter(load_backbone("offline", offline=True), AdapterSettings(rank=4))
    chosen = TrainerSettings(**{"steps": 8, "batch_size": 8, "schedule": "constant", **settings})  # type: ignore[arg-type]
    group = ParameterGroup("adapter", dict(backbone.model.named_parameters()), 5e-3)
    # A model that the trainer does not know stays in evaluation mode, without dropout.
    modules = {"backbone": backbone.model} if dropout else {}
    return Trainer(modules, [group], [Weighted(Answers(backbone))], chosen, folder=folder)


def test_an_adapter_learns_in_a_few_steps_and_only_the_adapter() -> None:
    run = trainer(dropout=False, steps=12)
    assert all("lora_" in name for name in run.parameters)
    report = run.fit()
    assert np.mean(report.losses[-3:]) < 0.6 * np.mean(report.losses[:3])


def test_eight_at_once_and_eight_times_one_are_the_same_steps() -> None:
    whole = trainer(dropout=False, steps=4).fit()
    sliced = trainer(dropout=False, steps=4, batch_size=1, accumulation=8).fit()
    assert sliced.losses == pytest.approx(whole.losses, rel=2e-3)
    assert sliced.losses[0] == pytest.approx(whole.losses[0], rel=1e-5)


def test_an_adapter_run_with_dropout_resumes_to_the_same_losses(tmp_path: Path) -> None:
    expected = trainer(steps=5).fit()
    first = trainer(tmp_path, steps=5)
    usual, calls = first.objectives[0].objective.loss, []

    def loss(examples: list[tuple[str, str]]) -> LossSum:
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return usual(examples)

    first.objectives[0].objective.loss = loss  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    resumed = trainer(tmp_path, steps=5)
    assert resumed.fit(resume=True).losses == expected.losses
    saved = sum(path.stat().st_size for path in (tmp_path / "checkpoints" / "step-00000003").iterdir())
    assert saved < 5e6  # the frozen 300 MB are not in it
