"""Tuning: one training loop for every objective.

A `Trainer` trains parameter groups of any modules on weighted objectives. It averages, clips,
schedules, evaluates, stops early, writes checkpoints that survive a kill, and resumes from them to
the same course. What is learnt is said by objectives, in `flanrec.tuning.objectives`.
"""

from flanrec.tuning.callbacks import Callback, JsonLines, ProgressBar, TensorBoard
from flanrec.tuning.objective import LossSum, Objective, Weighted
from flanrec.tuning.parameters import MovingAverage, ParameterGroup
from flanrec.tuning.processes import Processes, all_processes, parted
from flanrec.tuning.report import Evaluation, StepRecord, TrainingReport
from flanrec.tuning.settings import TrainerSettings
from flanrec.tuning.steps import NonFiniteLossError
from flanrec.tuning.trainer import Trainer

__all__ = [
    "Callback",
    "Evaluation",
    "JsonLines",
    "LossSum",
    "MovingAverage",
    "NonFiniteLossError",
    "Objective",
    "ParameterGroup",
    "Processes",
    "ProgressBar",
    "StepRecord",
    "TensorBoard",
    "Trainer",
    "TrainerSettings",
    "TrainingReport",
    "Weighted",
    "all_processes",
    "parted",
]
