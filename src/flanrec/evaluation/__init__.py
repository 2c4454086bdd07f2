"""Protocols and reports: every method is measured the same way, and every number says how."""

from flanrec.evaluation.matching import evaluate_match
from flanrec.evaluation.protocol import evaluate_generation, evaluate_ranking, evaluate_scores
from flanrec.evaluation.report import Metric, Report, comparison_table

__all__ = [
    "Metric",
    "Report",
    "comparison_table",
    "evaluate_generation",
    "evaluate_match",
    "evaluate_ranking",
    "evaluate_scores",
]
