"""How well each task family goes, in wordings that tuning saw and in others, and which families it never saw."""

from flanrec.evaluation.families.report import FamilyReport, FamilyScore, measure_families

__all__ = ["FamilyReport", "FamilyScore", "measure_families"]
