"""Penalties and schedules that go along with the steps, and AdaLoRA's ranks on the real checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tiny_run import Run
from torch import Tensor

from flanrec.backbone import Backbone
from flanrec.backbone.adapters import AdapterSettings, add_adapter
from flanrec.catalogue import Catalogue
from flanrec.errors import CheckpointError, SettingsError
from flanrec.tuning import ParameterGroup, Trainer, TrainerSettings, Weighted
from flanrec.tuning.companions import restore_companions
from flanrec.tuning.objectives.answers import AnswerObjective, Question
from flanrec.tuning.rank_schedule import RankSchedule


class Pull:
    """Draws a weight towards a point that moves with the steps; it remembers where it is."""

    name = "pull"

    def __init__(self, weight: Tensor, strength: float = 1.0) -> None:
        self.weight, self.strength = weight, strength
        self.goal = torch.zeros(1)

    def penalty(self) -> Tensor | None:
        return self.strength * (self.weight - self.goal).square().sum() if self.strength else None

    def after_step(self, step: int) -> None:
        self.goal = self.goal + 0.1

    def state(self) -> dict[str, Tensor]:
        return {"goal": self.goal}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.goal = state["goal"].clone()


def pulled(folder: Path | None = None, strength: float = 1.0, **settings: object) -> tuple[Run, Trainer]:
    run = Run(folder, **settings)  # type: ignore[arg-type]
    run.arguments["companions"] = [Pull(run.model.out.bias, strength)]
    return run, run.trainer()


def test_a_penalty_moves_the_weights_and_is_not_counted_as_loss() -> None:
    plain, plain_trainer = pulled(strength=0.0)
    drawn, drawn_trainer = pulled(strength=100.0, clip_norm=None)
    first, second = plain_trainer.fit(), drawn_trainer.fit()
    assert second.losses[0] == first.losses[0]
    assert float(drawn.model.out.bias) != pytest.approx(float(plain.model.out.bias), abs=1e-3)


def test_what_a_companion_remembers_is_in_the_checkpoint(tmp_path: Path) -> None:
    whole, trainer = pulled(evaluate_every=None)
    expected = trainer.fit().losses
    first, interrupted = pulled(tmp_path, evaluate_every=None, checkpoint_every=5)
    calls = []

    def stop(examples: list[object]) -> None:
        calls.append(1)
        if len(calls) == 13:
            raise RuntimeError("the machine went down")

    first.first.before_loss = stop  # type: ignore[assignment]
    with pytest.raises(RuntimeError):
        interrupted.fit()
    again, resumed = pulled(tmp_path, evaluate_every=None, checkpoint_every=5)
    assert resumed.fit(resume=True).losses == expected
    for name, value in again.weights().items():
        assert torch.equal(value, whole.weights()[name])


def test_a_state_of_a_stranger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'pull', which does not go along"):
        restore_companions([], {"pull/goal": torch.zeros(1)})
    _, trainer = pulled(tmp_path, checkpoint_every=24)
    trainer.fit()
    with pytest.raises(CheckpointError, match="companions was"):
        Run(tmp_path, checkpoint_every=24).trainer().fit(resume=True)


def adalora(
    make: Callable[[], Backbone], catalogue: Catalogue, folder: Path | None = None, steps: int = 10, rank: int = 6
) -> tuple[Trainer, RankSchedule]:
    torch.manual_seed(0)
    backbone = add_adapter(make(), AdapterSettings(method="adalora", rank=rank, targets=("q", "v")), steps=steps)
    question = Question("Which movie comes next?", (catalogue.titles[0],), (1.0,))
    schedule = RankSchedule(backbone.model)
    return Trainer(
        {"backbone": backbone.model},
        [ParameterGroup("adapter", dict(backbone.model.named_parameters()), 1e-2)],
        [Weighted(AnswerObjective("answers", backbone, lambda rng: question))],
        TrainerSettings(steps=steps, batch_size=1, schedule="constant", checkpoint_every=4 if folder else None),
        folder=folder,
        companions=[schedule],
    ), schedule  # fmt: skip


def test_ranks_fall_to_two_thirds_and_stay_there(
    fresh_backbone: Callable[[], Backbone], small_catalogue: Catalogue
) -> None:
    trainer, schedule = adalora(fresh_backbone, small_catalogue)
    maps, kept = 48, []  # q and v of 24 attentions

    class Watch:
        def on_step(self, record: object) -> None:
            kept.append(schedule.kept)

        def on_evaluation(self, evaluation: object) -> None: ...

        def on_end(self, report: object) -> None: ...

    trainer.callbacks = [Watch()]  # type: ignore[list-item]
    trainer.fit()
    assert kept[0] == 6 * maps
    assert all(after <= before for before, after in pairwise(kept))
    assert kept[-1] == kept[6] == 4 * maps
    patterns = schedule.config.rank_pattern
    ranks = [sum(pattern) for pattern in patterns.values()]
    assert sum(ranks) == 4 * maps
    assert len(set(ranks)) > 1  # they went where they matter


def test_the_least_rank_is_allotted_too(fresh_backbone: Callable[[], Backbone], small_catalogue: Catalogue) -> None:
    trainer, schedule = adalora(fresh_backbone, small_catalogue, rank=1)
    trainer.fit()
    assert schedule.kept == 48


def test_a_killed_adalora_run_resumes_to_the_same_losses_and_ranks(
    fresh_backbone: Callable[[], Backbone], small_catalogue: Catalogue, tmp_path: Path
) -> None:
    trainer, schedule = adalora(fresh_backbone, small_catalogue)
    expected, kept = trainer.fit().losses, schedule.config.rank_pattern
    for stop in (5, 9):  # while ranks fall, and after they are settled
        folder = tmp_path / str(stop)
        first, _ = adalora(fresh_backbone, small_catalogue, folder)
        usual, calls = first.objectives[0].objective.loss, []

        def loss(prepared: object, usual=usual, calls=calls, stop=stop) -> object:  # type: ignore[no-untyped-def]
            calls.append(1)
            if len(calls) > stop:
                raise RuntimeError("the machine went down")
            return usual(prepared)

        first.objectives[0].objective.loss = loss  # type: ignore[method-assign, assignment]
        with pytest.raises(RuntimeError):
            first.fit()
        again, resumed = adalora(fresh_backbone, small_catalogue, folder)
        assert again.fit(resume=True).losses == expected
        assert resumed.config.rank_pattern == kept


def test_a_model_without_adalora_has_no_ranks_to_allot(backbone: Backbone) -> None:
    with pytest.raises(SettingsError, match="no AdaLoRA adapter"):
        RankSchedule(backbone.model)
