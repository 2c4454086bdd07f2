"""What is learnt first follows from seed, step and steps alone, and ends in the mixture as it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import Run

from flanrec.errors import CheckpointError, SettingsError
from flanrec.tuning import LossSum, Processes, StepRecord, Trainer, TrainingReport, Weighted
from flanrec.tuning.batches import BatchPlan
from flanrec.tuning.curriculum import EasyFirst, arranged, beginnings, competence, easy_first
from flanrec.tuning.report import Evaluation


@dataclass(frozen=True)
class Told:
    """An example of the tiny run with a prompt of some length."""

    row: int
    number: float
    prompt: str


class Prompted:
    """The tiny regression, its examples with prompts of 1 to 20 characters."""

    def __init__(self, run: Run, *, apart: bool = True) -> None:
        self.inner, self.apart, self.name = run.first, apart, run.first.name

    def draw(self, rng: np.random.Generator, size: int) -> list[Told]:
        return [Told(row, number, "x" * (row + 1)) for row, number in self.inner.draw(rng, size)]

    def prepare(self, examples: list[Told]) -> list[tuple[int, float]]:
        return [(one.row, one.number) for one in examples]

    def loss(self, prepared: Any) -> LossSum:
        return self.inner.loss(prepared)


def plan(mixture: list[Weighted], steps: int, seed: int = 7) -> BatchPlan:
    return BatchPlan(mixture, seed, 16, 1, Processes(), steps)


def drawn(mixture: list[Weighted], step: int, steps: int) -> list[Any]:
    return [example for some in plan(mixture, steps).draw(step)[2].values() for example in some]


def test_competence_begins_small_and_is_whole_at_half_of_the_run() -> None:
    assert (competence(0.0), competence(0.5), competence(1.0)) == (0.1, 1.0, 1.0)
    assert competence(0.2, start=0.0, full=0.8) == pytest.approx(0.5)
    rising = [competence(progress) for progress in np.linspace(0, 1, 50)]
    assert rising == sorted(rising)


@pytest.mark.parametrize("apart", [True, False])
def test_the_first_step_has_the_shortest_tenth_and_the_second_half_everything(apart: bool) -> None:
    plain = [Weighted(Prompted(Run(), apart=apart))]
    mixture = arranged(plain, "easy-first", seed=7)
    longest = [max(len(one.prompt) for one in drawn(mixture, step, 101)) for step in (1, 11, 26)]
    assert longest[0] <= 3  # the shortest tenth of 1 to 20
    assert longest[0] < longest[1] < longest[2]
    for step in (51, 80, 101):
        assert drawn(mixture, step, 101) == drawn(plain, step, 101)


def test_at_some_competence_all_that_is_short_enough_comes_alike() -> None:
    objective = Prompted(Run())
    eased = EasyFirst(objective, np.arange(1, 21))
    progress = 0.1  # competence is 0.456 there: of 20 lengths the ten shortest
    found = Counter(len(one.prompt) for one in eased.draw_at(np.random.default_rng(0), 4000, progress))
    assert sorted(found) == list(range(1, 11))
    assert min(found.values()) > 300
    assert eased.draw(np.random.default_rng(1), 5) == objective.draw(np.random.default_rng(1), 5)


def test_examples_without_a_prompt_stay_as_they_are() -> None:
    run = Run()
    assert easy_first(run.first, 7) is run.first
    assert [one.objective for one in arranged([Weighted(run.first)], "easy-first", 7)] == [run.first]


def test_a_step_is_the_same_whoever_asks_and_in_any_order() -> None:
    one, other = (arranged([Weighted(Prompted(Run()))], "easy-first", seed=7) for _ in range(2))
    forwards = [drawn(one, step, 20) for step in range(1, 21)]
    backwards = [drawn(other, step, 20) for step in range(20, 0, -1)]
    assert forwards == backwards[::-1]


def test_families_begin_one_after_another_and_go_on() -> None:
    names = ["sequential", "match", "item_from_description", "pairwise", "rating"]
    begins = beginnings(names)
    assert begins == {"sequential": 0.5, "match": 0.25, "item_from_description": 0.0, "pairwise": 0.5, "rating": 0.25}
    assert beginnings(["sequential", "wish"]) == {"sequential": 0.0, "wish": 0.0}


def test_before_its_beginning_a_family_has_no_turn_and_then_its_weight() -> None:
    run = Run()
    mixture = [Weighted(run.first, 3.0), Weighted(run.second, 1.0, since=0.5)]
    made = plan(mixture, 101)
    assert made.weights(1).tolist() == made.weights(50).tolist() == [1.0, 0.0]
    assert made.weights(51).tolist() == made.weights(101).tolist() == [0.75, 0.25]
    assert {made.draw(step)[0] for step in range(1, 51)} == {0}
    late = Counter(made.draw(step)[0] for step in range(51, 102))
    assert 0 < late[1] < late[0]


def test_without_a_curriculum_the_steps_are_those_of_before() -> None:
    run = Run()
    mixture = [Weighted(run.first, 3.0), Weighted(run.second, 1.0)]
    with_steps, without = plan(mixture, 500), BatchPlan(mixture, 7, 16, 1, Processes())
    assert [with_steps.draw(step) for step in range(1, 9)] == [without.draw(step) for step in range(1, 9)]
    assert arranged(mixture, "none", 7) == mixture


def test_a_run_of_one_step_has_every_family() -> None:
    run = Run()
    assert plan([Weighted(run.first), Weighted(run.second, since=0.5)], 1).weights(1).tolist() == [0.5, 0.5]


class Stop:
    """Presses Ctrl-C after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, record: StepRecord) -> None:
        if record.step == self.step:
            raise KeyboardInterrupt

    def on_evaluation(self, evaluation: Evaluation) -> None:
        pass

    def on_end(self, report: TrainingReport) -> None:
        pass


def trainer(folder: Path | None, curriculum: Any, **arguments: Any) -> Trainer:
    run = Run(folder)
    mixture = [Weighted(Prompted(run), 3.0), Weighted(second_of(run), 1.0)]
    whole = run.trainer()
    return Trainer(
        {"model": run.model}, whole.groups, arranged(mixture, curriculum, 7), run.settings,
        evaluate=run.evaluate, primary="fit", folder=folder, **arguments,
    )  # fmt: skip


def second_of(run: Run) -> Prompted:
    second = Prompted(run)
    second.inner, second.name = run.second, "match"
    return second


@pytest.mark.parametrize("curriculum", ["easy-first", "families"])
def test_an_interrupted_run_goes_on_as_it_would_have(tmp_path: Path, curriculum: Any) -> None:
    whole = trainer(None, curriculum).fit()
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, curriculum, callbacks=[Stop(9)]).fit()
    resumed = trainer(tmp_path, curriculum).fit(resume=True)
    assert resumed.losses == whole.losses
    assert resumed.objectives == whole.objectives


def test_a_run_does_not_go_on_under_another_curriculum(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, "easy-first", callbacks=[Stop(9)]).fit()
    for other in ("none", "families"):
        with pytest.raises(CheckpointError, match="pace of objective"):
            trainer(tmp_path, other).fit(resume=True)


def test_somebody_must_begin() -> None:
    run = Run()
    late = [replace(Weighted(one), since=0.5) for one in (run.first, run.second)]
    with pytest.raises(SettingsError, match="at the first step"):
        Trainer({"model": run.model}, run.trainer().groups, late, run.settings, evaluate=run.evaluate, primary="fit")


def test_patience_is_refused_where_a_family_begins_later() -> None:
    run = Run(patience=1)
    late = [Weighted(run.first), Weighted(run.second, since=0.5)]
    with pytest.raises(SettingsError, match="With patience the run may end before reversed had a turn"):
        Trainer({"model": run.model}, run.trainer().groups, late, run.settings, evaluate=run.evaluate, primary="fit")
