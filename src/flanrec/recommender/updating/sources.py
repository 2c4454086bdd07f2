"""The closed-form sources of a log that has grown: added to where that can be, else fitted again."""

from __future__ import annotations

import polars as pl

from flanrec.catalogue import Catalogue
from flanrec.catalogue.facets import Facets
from flanrec.data import Dataset
from flanrec.data.profiles import attributes_of_users
from flanrec.ranking.behaviour import Behaviour
from flanrec.recommender.fused import behaviour_of


def behaviour_after(
    behaviour: Behaviour, known: Dataset, dataset: Dataset, catalogue: Catalogue, facets: Facets
) -> Behaviour:
    """The closed-form sources of a log, from those of a part of it.

    The sources count what follows what in each history, so events can only be added behind. Where some land earlier, or
    the part has events that the log lacks, all is fitted again; the result is the same up to rounding.

    Parameters
    ----------
    behaviour, known
        Fitted on this part, whose items are the first of the log's.
    dataset, catalogue, facets
        The log, and its items.
    """
    events = dataset.interactions
    added = events.filter(~pl.col("row").is_in(known.interactions["row"].implode()))
    if known.interactions.height + added.height != events.height or not _behind(known.interactions, added):
        return behaviour_of(dataset, catalogue, facets)
    late = dataset.with_interactions(added)
    whole, log = dataset.sequences(), late.sequences()
    told = attributes_of_users(dataset, whole.user_ids)
    return behaviour.update(
        whole,
        [told.get(user, {}) for user in whole.user_ids],
        facets.members,
        catalogue.years,
        log=log,
        before=known.sequences(log.user_ids),
    )


def _behind(known: pl.DataFrame, added: pl.DataFrame) -> bool:
    """Whether each user's added events come after all that are known of the user."""
    marked = [known.select("user_id", "timestamp", "row", pl.lit(False).alias("_added")),
              added.select("user_id", "timestamp", "row", pl.lit(True).alias("_added"))]  # fmt: skip
    ordered = pl.concat(marked, how="vertical_relaxed").sort("user_id", "timestamp", "row")
    back = (pl.col("_added").cast(pl.Int8).diff().over("user_id") < 0).fill_null(False)
    return not bool(ordered.select(back.any()).item())
