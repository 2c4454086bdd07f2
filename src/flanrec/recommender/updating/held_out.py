"""Events set apart before an update: what the old and the updated model are asked about."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flanrec.catalogue.people import Person, people
from flanrec.data import Dataset
from flanrec.data.arrivals import Arrivals


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Events that nothing is learnt from until they have been asked about.

    Attributes
    ----------
    log
        All that is known now but them.
    rows
        Their rows in the log of all that is known.
    persons
        Before each event, who it happened to.
    answers
        int64 [n], catalogue indices of what was taken.
    ratings
        float32 [n], nan where there is none.
    new
        bool [n], whether the event arrived, or was known before.
    """

    log: Dataset
    rows: pl.Series
    persons: list[Person]
    answers: NDArray[np.int64]
    ratings: NDArray[np.float32]
    new: NDArray[np.bool_]

    def some(self, *, new: bool, most: int) -> NDArray[np.int64]:
        """Places of at most so many of the new, or of the old, events, evenly chosen."""
        places = np.flatnonzero(self.new == new)
        return places if len(places) <= most else places[np.linspace(0, len(places) - 1, most).astype(np.int64)]


def hold_out(found: Arrivals, users: int, seed: int) -> HeldOut:
    """Set apart the last new event of users who have some, and the last known event of others.

    Where too few users are without new events, the last known event of those who have some is taken too. Users about
    whom nothing else is known are left out, since a model can say nothing of its own about them; so are known events of
    users with fewer than two others.

    Parameters
    ----------
    users
        Most events of either kind.
    seed
        Of the draw where there are more.
    """
    ordered = found.dataset.interactions.sort("user_id", "timestamp", "row", maintain_order=True).with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).over("user_id").alias("_place"),
        pl.len().over("user_id").cast(pl.Int64).alias("_events"),
        (pl.col("row") >= found.first_row).alias("_new"),
    )
    last_new = ordered.filter("_new").unique("user_id", keep="last", maintain_order=True).filter(pl.col("_place") >= 1)
    known = ordered.filter(~pl.col("_new")).with_columns(pl.len().over("user_id").alias("_known"))
    last_known = known.unique("user_id", keep="last", maintain_order=True).filter(pl.col("_known") >= 3)
    rng = np.random.default_rng(seed)
    new = _some(last_new, users, rng)
    updated = pl.col("user_id").is_in(found.interactions["user_id"].unique().implode())
    old = _some(last_known.filter(~updated), users, rng)
    if old.height < users:
        old = pl.concat([old, _some(last_known.filter(updated), users - old.height, rng)])
    apart = pl.concat([new.select(old.drop("_known").columns), old.drop("_known")]).sort("row")
    # Of two events of one user that are set apart, the later one is asked about as if the earlier had not happened.
    apart = apart.with_columns((pl.col("_place").rank("ordinal").over("user_id") - 1).cast(pl.Int64).alias("_apart"))
    rows = apart["row"]
    log = _without(found.dataset, rows)
    persons = [
        person.before(place - before)
        for person, place, before in zip(
            people(log, apart["user_id"].to_list()), apart["_place"].to_list(), apart["_apart"].to_list(), strict=True
        )
    ]
    index = {item: at for at, item in enumerate(found.dataset.item_ids)}
    ratings = apart["rating"].cast(pl.Float32).fill_null(float("nan")) if "rating" in apart.columns else None
    return HeldOut(
        log=log,
        rows=rows,
        persons=persons,
        answers=np.array([index[item] for item in apart["item_id"].to_list()], dtype=np.int64),
        ratings=np.full(len(rows), np.nan, dtype=np.float32) if ratings is None else ratings.to_numpy(),
        new=apart["_new"].to_numpy(),
    )


def _some(events: pl.DataFrame, most: int, rng: np.random.Generator) -> pl.DataFrame:
    if events.height <= most:
        return events
    return events[np.sort(rng.choice(events.height, most, replace=False))]


def _without(dataset: Dataset, rows: pl.Series) -> Dataset:
    """The data set without some interactions, and without what was written of them alone."""
    kept = dataset.with_interactions(dataset.interactions.filter(~pl.col("row").is_in(rows.implode())))
    if kept.reviews is None:
        return kept
    pair = ["user_id", "item_id"]
    mine = kept.reviews.join(kept.interactions.select(pair), on=pair, how="semi", maintain_order="left")
    return replace(kept, reviews=mine)
