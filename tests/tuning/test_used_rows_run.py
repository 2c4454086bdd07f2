"""The loop on the real offline checkpoint with the vocabulary's rows in use: interrupted, it goes on to the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flanrec.backbone import Backbone
from flanrec.backbone.encoder import recompute_blocks
from flanrec.backbone.used_rows import trained_rows
from flanrec.backbone.vocabulary import used_rows
from flanrec.tuning import LossSum, ParameterGroup, Trainer, TrainerSettings, Weighted
from flanrec.tuning.objectives.answers import AnswerObjective, Question

Fresh = Callable[[], Backbone]
QUESTIONS = [
    Question("Which genre is the movie Alien (1979)?", ("horror", "science fiction"), (1.0, 0.5)),
    Question("Which genre is the movie Airplane! (1980)?", ("comedy",), (1.0,)),
    Question("A user liked Star Wars (1977). Which movie comes next?", ("The Empire Strikes Back (1980)",), (1.0,)),
    Question("A user liked Toy Story (1995). Which movie comes next?", ("A Bug's Life (1998)",), (1.0,)),
]


def ask(rng: np.random.Generator) -> Question:
    return QUESTIONS[int(rng.integers(len(QUESTIONS)))]


@contextmanager
def trainer(
    backbone: Backbone, folder: Path | None = None, *, recompute: bool = False, **settings: object
) -> Iterator[Trainer]:
    """Trains the rows and the decoder's last block."""
    model = backbone.model.requires_grad_(False)
    block = model.get_decoder().block[-1].requires_grad_(True)
    texts = [text for question in QUESTIONS for text in (question.prompt, *question.answers)]
    rows = used_rows(backbone.tokenizer, texts)
    recompute_blocks(model, recompute)
    with trained_rows(backbone, rows) as own:
        groups = [
            ParameterGroup("block", dict(block.named_parameters()), 1e-3),
            ParameterGroup("vocabulary", own, 1e-2, 0.0),
        ]
        chosen = TrainerSettings(**{"steps": 5, "batch_size": 4, "schedule": "constant", **settings})  # type: ignore[arg-type]
        objective = AnswerObjective("answers", backbone, ask, rows=rows)
        yield Trainer({"words": model}, groups, [Weighted(objective)], chosen, folder=folder)
    recompute_blocks(model, False)


def interrupted(backbone: Backbone, folder: Path) -> None:
    """A run in whose fourth step Ctrl-C is pressed."""
    with trainer(backbone, folder) as run:
        usual, calls = run.objectives[0].objective.loss, []

        def loss(prepared: Any) -> LossSum:
            calls.append(1)
            if len(calls) > 3:
                raise KeyboardInterrupt
            return usual(prepared)

        run.objectives[0].objective.loss = loss  # type: ignore[method-assign]
        run.fit()


def test_a_run_that_was_interrupted_resumes_to_the_same_losses_and_tables(
    tmp_path: Path, fresh_backbone: Fresh
) -> None:
    straight = fresh_backbone()
    with trainer(straight) as run:
        expected = run.fit().losses
    stopped = fresh_backbone()
    with pytest.raises(KeyboardInterrupt):
        interrupted(stopped, tmp_path)
    assert isinstance(stopped.model.shared, torch.nn.Embedding)
    resumed = fresh_backbone()
    with trainer(resumed, tmp_path) as second:
        assert second.fit(resume=True).losses == expected
    for one, two in zip(resumed.model.parameters(), straight.model.parameters(), strict=True):
        assert torch.equal(one, two)
    saved = sum(path.stat().st_size for path in (tmp_path / "checkpoints" / "step-00000003").iterdir())
    assert saved < 40e6  # a block and its optimiser state; the tables alone are 132 MB


def test_averaging_and_activation_checkpointing_change_nothing_they_should_not(fresh_backbone: Fresh) -> None:
    kept = {}
    for recompute in (False, True):
        backbone = fresh_backbone()
        with trainer(backbone, recompute=recompute, steps=3, average=0.9, autocast="bf16") as run:
            kept[recompute] = run.fit().losses
    assert kept[True] == pytest.approx(kept[False], rel=1e-3)


def test_rows_outside_stay_bit_for_bit(backbone: Backbone, fresh_backbone: Fresh) -> None:
    changed = fresh_backbone()
    with trainer(changed, steps=2) as run:
        rows = run.objectives[0].objective.rows  # type: ignore[attr-defined]
        run.fit()
    others = np.setdiff1d(np.arange(32128), rows)
    for name in ("shared.weight", "lm_head.weight"):
        old, new = (one.model.get_parameter(name).detach() for one in (backbone, changed))
        assert torch.equal(old[others], new[others])
        assert not torch.equal(old[rows], new[rows])
