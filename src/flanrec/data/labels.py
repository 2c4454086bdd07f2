"""Ratings that come later: labels put into a log whose events have none."""

from __future__ import annotations

import logging

import polars as pl

from flanrec.data.columns import same_id_type
from flanrec.data.dataset import Dataset
from flanrec.errors import DataError

logger = logging.getLogger(__name__)

_PAIR = ("user_id", "item_id")


def with_labels(dataset: Dataset, labels: pl.DataFrame, *, without: pl.Series | None = None) -> Dataset:
    """The same log with ratings for events that have none; a rating that is there stays.

    Labels of pairs that are no event, or a rated one, are left out and counted in the log: as events they would say
    that the user chose the item. `Recommender.fit` can learn those as examples.

    Parameters
    ----------
    labels
        Columns user_id, item_id and rating, as `load_interactions` or `flanrec.recommender.pseudo_labels` give them;
        of several labels of a pair the last one counts.
    without
        ``row`` of events that stay without a rating: those that are set apart to measure on, which must not be measured
        by what a model said of them.

    Raises
    ------
    DataError
        A column is missing, or the ids are of another type.

    Examples
    --------
    >>> log = {"user_id": [1, 1], "item_id": [7, 8], "rating": [5.0, None]}
    >>> data = Dataset.from_frames(log, {"item_id": [7, 8], "title": ["A", "B"]})
    >>> labels = pl.DataFrame({"user_id": [1, 1], "item_id": [7, 8], "rating": [1.0, 2.0]})
    >>> with_labels(data, labels).interactions["rating"].to_list()
    [5.0, 2.0]
    """
    missing = [name for name in (*_PAIR, "rating") if name not in labels.columns]
    if missing:
        raise DataError(f"the labels lack the column {', '.join(missing)}; they have {', '.join(labels.columns)}")
    events = dataset.interactions
    given = labels.select(*_PAIR, pl.col("rating").cast(pl.Float64).alias("_label")).drop_nulls()
    for name in _PAIR:
        known, ids = same_id_type(events[name], given[name], name)
        if known.dtype != events[name].dtype:
            raise DataError(
                f"the labels have {name} as {given[name].dtype}, the interactions as {events[name].dtype}; "
                "give them one type"
            )
        given = given.with_columns(ids)
    given = given.unique(list(_PAIR), keep="last", maintain_order=True)
    rating = pl.col("rating") if "rating" in events.columns else pl.lit(None, dtype=pl.Float64)
    found = events.join(given, on=list(_PAIR), how="left", maintain_order="left")
    if without is not None:
        kept = ~pl.col("row").is_in(without.implode())
        found = found.with_columns(pl.when(kept).then("_label").alias("_label"))
    labelled = found.filter(rating.is_null() & pl.col("_label").is_not_null())
    used = labelled.select(_PAIR).unique().height
    logger.info("labels: %d events got a rating, %d of %d labels are of no unrated event, or of one that is set apart, "
                "and left out", labelled.height, given.height - used, given.height)  # fmt: skip
    filled = found.with_columns(pl.coalesce(rating, pl.col("_label")).alias("rating")).drop("_label")
    return Dataset(filled, dataset.items, dataset.users, dataset.reviews, dataset.name)
