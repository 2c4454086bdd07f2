"""Keeping the curves of a run: in JSON lines, and in the libraries that people look at runs with."""

from flanrec.tuning.tracking.json_lines import JsonLines
from flanrec.tuning.tracking.runs import EXTRAS, Library, Tracking, require, tracked
from flanrec.tuning.tracking.tensorboard import TensorBoard

__all__ = ["EXTRAS", "JsonLines", "Library", "TensorBoard", "Tracking", "require", "tracked"]
