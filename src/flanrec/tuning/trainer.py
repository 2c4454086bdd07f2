"""The training loop: steps, evaluations, early stopping, checkpoints."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from flanrec.errors import SettingsError
from flanrec.tuning.batches import Batch, BatchPlan, batches, resolve_workers
from flanrec.tuning.callbacks import Callback, GivenUpError
from flanrec.tuning.checkpoints import Checkpoints
from flanrec.tuning.companions import Companion, add_penalties
from flanrec.tuning.course import Course
from flanrec.tuning.fingerprint import refuse_misfits, run_fingerprint
from flanrec.tuning.interrupts import PoliteInterrupt
from flanrec.tuning.objective import Weighted
from flanrec.tuning.optimisers import set_rates
from flanrec.tuning.parameters import ParameterGroup, trained_parameters
from flanrec.tuning.processes import Processes, all_processes
from flanrec.tuning.report import Evaluation, Sample, StepRecord, TrainingReport
from flanrec.tuning.schedule import rate_factor
from flanrec.tuning.settings import TrainerSettings, resolve_autocast
from flanrec.tuning.steps import accumulate_gradients, clip_gradients

logger = logging.getLogger(__name__)


class Trainer:
    """Trains parameters on weighted objectives; the modules keep the best weights.

    Everything random in a step follows from (seed, step), so a run that was killed and resumed makes
    the very steps that it would have made.

    Started by torchrun, ``accelerate launch`` or Ray Train, the processes share the slices of each batch and add their
    gradients, so that all make the same steps; the first one evaluates, tells callbacks and writes checkpoints.

    Parameters
    ----------
    modules
        What is put into training mode during steps and into evaluation mode during evaluations and at the end.
    groups
        The parameters to train. Parameters of the modules that are in no group must not require gradients.
    objectives
        Each step trains one of them, drawn by weight.
    settings
        See `TrainerSettings`.
    evaluate
        Returns metrics; called without gradients, in evaluation mode, with the averaged weights in
        place if there is an average.
    primary
        The metric of `evaluate` that decides which weights are best; higher is better.
    samples
        Called after each `evaluate`, in the first process: what callbacks are shown of its answers.
    folder
        Where ``checkpoints/`` is kept; None keeps none.
    callbacks
        Told of steps, evaluations and the end.
    identity
        Facts that must be the same when a run is resumed, such as the fingerprints of data and backbone.
    companions
        Penalties and schedules that go along with the steps.
    processes
        Those that train together; by default those of the launcher.

    Raises
    ------
    SettingsError
        The parts do not fit together; the message says how.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        groups: Sequence[ParameterGroup],
        objectives: Sequence[Weighted],
        settings: TrainerSettings,
        *,
        evaluate: Callable[[], Mapping[str, float]] | None = None,
        primary: str = "",
        samples: Callable[[], Sequence[Sample]] = tuple,
        folder: Path | None = None,
        callbacks: Sequence[Callback] = (),
        identity: Mapping[str, str] | None = None,
        companions: Sequence[Companion] = (),
        processes: Processes | None = None,
    ) -> None:
        self.parameters = trained_parameters(groups)
        refuse_misfits(modules, self.parameters, objectives, settings, evaluate is not None, primary, folder)
        self.modules, self.groups, self.objectives, self.settings = modules, groups, objectives, settings
        self.companions = companions
        self.processes = all_processes() if processes is None else processes
        self.evaluate, self.primary, self.samples = evaluate, primary, samples
        self.callbacks = callbacks if self.processes.first else ()
        self.plan = BatchPlan(
            objectives, settings.seed, settings.batch_size, settings.accumulation, self.processes, settings.steps
        )
        self.device = next(iter(self.parameters.values())).device
        self.autocast = resolve_autocast(settings.autocast, self.device)
        self.fingerprint = run_fingerprint(
            settings, groups, objectives, primary, self.autocast, identity or {}, companions
        )
        self.checkpoints = Checkpoints(folder / "checkpoints", settings.keep_checkpoints) if folder else None
        self.course = Course(self.parameters, groups, settings, companions)

    @property
    def report(self) -> TrainingReport:
        """How the run went so far."""
        return self.course.report

    def fit(self, *, resume: bool = False) -> TrainingReport:
        """Train to the end and leave the best weights in the modules.

        With `evaluate` these are the weights of the best evaluation, else the last ones (averaged if
        there is an average).

        Parameters
        ----------
        resume
            Go on from the newest whole checkpoint of the folder, or begin if there is none. Without
            it, a folder that has checkpoints is refused.

        Raises
        ------
        NonFiniteLossError
            A loss or gradient is not finite.
        CheckpointError
            The checkpoints are of a run with other settings, or all of them are damaged.
        GivenUpError
            A callback did not want the run to go on after an evaluation.
        KeyboardInterrupt
            Raised again after a checkpoint of the last whole step was written.
        """
        self._begin(resume)
        try:
            with _generators_restored(self.device), PoliteInterrupt() as interrupt:
                self._loop(interrupt)
            if self.evaluate is not None and self.report.best_step is None:
                logger.warning("No evaluation gave a number for %s: the last weights are the result.", self.primary)
            self.course.take_result()
        except KeyboardInterrupt:
            self.report.stopped = "interrupted"
            self._save_interrupted()
            raise
        except BaseException as problem:
            self.report.stopped = "given up" if isinstance(problem, GivenUpError) else "failed"
            raise
        finally:
            self.set_mode(training=False)
            for parameter in self.parameters.values():
                parameter.grad = None
            for callback in self.callbacks:
                callback.on_end(self.report)
        return self.report

    def _begin(self, resume: bool) -> None:
        self.course = Course(self.parameters, self.groups, self.settings, self.companions)
        self._between_steps = True
        self.report.trained = sum(parameter.numel() for parameter in self.parameters.values())
        if self.checkpoints is not None:
            kept, fingerprint = self.checkpoints, self.fingerprint
            if resume:
                state = self.processes.from_first(lambda: kept.load_newest(fingerprint))
                if state is not None:
                    self.course.restore(state)
            else:
                self.processes.from_first(kept.refuse_existing)
        self.processes.share(self.parameters.values())
        self._began = time.monotonic() - self.report.seconds
        self._saved_at, self._saved_step = time.monotonic(), self.report.steps

    def _loop(self, interrupt: PoliteInterrupt) -> None:
        self.set_mode(training=True)
        stop = False
        todo = self._batches()
        while True:
            self._evaluate_if_due()
            if self.settings.patience is not None and self.report.since_improvement >= self.settings.patience:
                self.report.stopped = "early"
                break
            self._save_if_due()
            if self.report.steps >= self.settings.steps:
                break
            # Alone this process stops here; several stop together, once they have told each other in a step.
            if stop or (interrupt.asked and self.processes.count == 1):
                raise KeyboardInterrupt
            stop = self._step(self.report.steps + 1, next(todo), interrupt.asked)

    def _batches(self) -> Iterator[Batch]:
        workers = resolve_workers(self.settings.workers, self.device)
        return batches(self.plan, self.report.steps + 1, self.settings.steps, workers, self.device)

    def _step(self, step: int, batch: Batch, interrupted: bool) -> bool:
        """Make one update; return whether any process was asked to stop."""
        settings, report = self.settings, self.report
        result = accumulate_gradients(
            self.plan, batch, self.parameters, step=step, autocast=self.autocast_block, interrupted=interrupted
        )
        add_penalties(self.companions)
        norm = clip_gradients(self.parameters, settings.clip_norm, step, result.objective)
        factor = rate_factor(settings.schedule, step, settings.steps, settings.warmup)
        rates = set_rates(self.course.optimiser, self.groups, factor)
        self._between_steps = False
        self.course.optimiser.step()
        for companion in self.companions:
            companion.after_step(step)
        if self.course.average is not None:
            self.course.average.update(self.parameters)
        report.steps = step
        report.losses.append(result.loss)
        report.objectives.append(result.objective)
        report.examples += result.examples
        report.seconds = time.monotonic() - self._began
        self._between_steps = True
        record = StepRecord(
            step, settings.steps, result.objective, result.loss, norm, rates, report.examples, report.seconds
        )
        for callback in self.callbacks:
            callback.on_step(record)
        return result.interrupted

    def _evaluate_if_due(self) -> None:
        settings, report = self.settings, self.report
        due = report.steps == settings.steps or (
            settings.evaluate_every is not None and report.steps > 0 and report.steps % settings.evaluate_every == 0
        )
        done = bool(report.evaluations) and report.evaluations[-1].step == report.steps
        if self.evaluate is None or not due or done:
            return
        self.set_mode(training=False)
        with self.course.averaged():
            with torch.no_grad():
                metrics = self.processes.from_first(self._measured)
            improved = self.course.judge(metrics[self.primary])
        self.set_mode(training=True)
        evaluation = Evaluation(report.steps, metrics, improved)
        report.evaluations.append(evaluation)
        report.seconds = time.monotonic() - self._began
        # Where a callback gives the run up, all processes end; alone the first would leave the others waiting.
        self.processes.from_first(partial(self._tell, evaluation))

    def _tell(self, evaluation: Evaluation) -> None:
        if self.callbacks:
            shown = replace(evaluation, samples=self.samples())
            for callback in self.callbacks:
                callback.on_evaluation(shown)

    def _measured(self) -> dict[str, float]:
        assert self.evaluate is not None
        metrics = {name: float(value) for name, value in self.evaluate().items()}
        if self.primary not in metrics:
            raise SettingsError(f"evaluate() gives no {self.primary!r}; choose primary from {sorted(metrics)}.")
        return metrics

    def _save_if_due(self) -> None:
        settings, step = self.settings, self.report.steps
        by_steps = settings.checkpoint_every is not None and step % settings.checkpoint_every == 0
        waited = time.monotonic() - self._saved_at
        by_clock = settings.checkpoint_seconds is not None and waited >= settings.checkpoint_seconds
        if step > self._saved_step and (by_steps or by_clock):
            self._save()

    def _save(self) -> None:
        if self.checkpoints is None or not self.processes.first:
            return
        self.report.seconds = time.monotonic() - self._began
        self.checkpoints.save(self.course.state(self.fingerprint))
        self._saved_at, self._saved_step = time.monotonic(), self.report.steps

    def _save_interrupted(self) -> None:
        if not self.processes.first:
            return
        if self.checkpoints is None:
            logger.warning("Interrupted after step %d; without a folder nothing was kept.", self.report.steps)
            return
        if self._between_steps and self.report.steps > self._saved_step:
            self._save()
        logger.warning(
            "Interrupted after step %d. Resume from %s with resume=True and the same settings.",
            self._saved_step, self.checkpoints.folder,
        )  # fmt: skip

    def autocast_block(self) -> torch.autocast:
        """The block in which objectives are read, in the number format of the run."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast == "bf16")

    def set_mode(self, *, training: bool) -> None:
        """Put all modules into training or evaluation mode."""
        for module in self.modules.values():
            module.train(training)


@contextlib.contextmanager
def _generators_restored(device: torch.device) -> Iterator[None]:
    """Leave torch's random generators as they were before the block."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
