"""Tuning: one training loop for every objective.

A `Trainer` trains parameter groups of any modules on weighted objectives. It averages, clips,
schedules, evaluates, stops early, writes checkpoints that survive a kill, and resumes from them to
the same course. What is learnt is said by objectives, in `flanrec.tuning.objectives`.
"""

from flanrec.tuning.callbacks import Callback, GivenUpError
from flanrec.tuning.objective import LossSum, Objective, Weighted
from flanrec.tuning.parameters import MovingAverage, ParameterGroup
from flanrec.tuning.processes import Processes, all_processes, parted
from flanrec.tuning.progress import ProgressBar
from flanrec.tuning.report import Evaluation, Sample, StepRecord, TrainingReport
from flanrec.tuning.settings import TrainerSettings
from flanrec.tuning.steps import NonFiniteLossError
from flanrec.tuning.tracking import JsonLines, TensorBoard, Tracking, tracked
from flanrec.tuning.trainer import Trainer

__all__ = [
    "Callback",
    "Evaluation",
    "GivenUpError",
    "JsonLines",
    "LossSum",
    "MovingAverage",
    "NonFiniteLossError",
    "Objective",
    "ParameterGroup",
    "Processes",
    "ProgressBar",
    "Sample",
    "StepRecord",
    "TensorBoard",
    "Tracking",
    "Trainer",
    "TrainerSettings",
    "TrainingReport",
    "Weighted",
    "all_processes",
    "parted",
    "tracked",
]
