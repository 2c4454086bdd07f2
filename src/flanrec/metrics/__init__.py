"""Metrics as pure functions on arrays: accuracy, beyond accuracy, probabilities, intervals, and the tie rule."""

from flanrec.metrics.accuracy import (
    accuracy_at,
    average_precision,
    hit_rate,
    hits,
    ndcg,
    precision,
    recall,
    reciprocal_rank,
)
from flanrec.metrics.beyond import (
    category_share,
    coverage,
    duplicate_rate,
    gini,
    novelty,
    popularity_bias,
    valid_rate,
)
from flanrec.metrics.intervals import (
    Interval,
    PairedDifference,
    bootstrap_interval,
    bootstrap_statistic,
    paired_bootstrap,
)
from flanrec.metrics.lists import ItemLists, UserItems
from flanrec.metrics.probability import auc, auc_by_user, brier, expected_calibration_error, log_loss, user_auc
from flanrec.metrics.ranking import TIE_RULE, TopK, top_k

__all__ = [
    "TIE_RULE",
    "Interval",
    "ItemLists",
    "PairedDifference",
    "TopK",
    "UserItems",
    "accuracy_at",
    "auc",
    "auc_by_user",
    "average_precision",
    "bootstrap_interval",
    "bootstrap_statistic",
    "brier",
    "category_share",
    "coverage",
    "duplicate_rate",
    "expected_calibration_error",
    "gini",
    "hit_rate",
    "hits",
    "log_loss",
    "ndcg",
    "novelty",
    "paired_bootstrap",
    "popularity_bias",
    "precision",
    "recall",
    "reciprocal_rank",
    "top_k",
    "user_auc",
    "valid_rate",
]
