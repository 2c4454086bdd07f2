"""Items that training never saw, ranked from what they say of themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.catalogue.people import Person
from flanrec.errors import DataError
from flanrec.metrics import top_k
from flanrec.ranking.content import Newcomers
from flanrec.recommender.asking import Asking, each_asking
from flanrec.recommender.lists import closed_items
from flanrec.recommender.parts import Parts
from flanrec.recommender.settings import RecommenderSettings
from flanrec.recommender.tables import as_type_of


def with_new_items(
    parts: Parts, backbone: Backbone, settings: RecommenderSettings, new_items: pl.DataFrame
) -> tuple[Parts, NDArray[np.bool_]]:
    """The parts with further items, and which items of the larger catalogue are new.

    Items of the table that have interactions in the training log are passed over; items that are in the
    catalogue without any count as new.

    Raises
    ------
    DataError
        No item is new, or the table lacks a column or has ids of another type.
    """
    missing = [name for name in ("item_id", "title") if name not in new_items.columns]
    if missing:
        raise DataError(f"new items lack the column {', '.join(missing)}; they have {', '.join(new_items.columns)}")
    new_items = new_items.with_columns(as_type_of(parts.dataset.items["item_id"], new_items["item_id"]))
    fresh = new_items.filter([item not in parts.trained for item in new_items["item_id"].to_list()])
    if fresh.height == 0:
        raise DataError(f"all {new_items.height} items have interactions in the training log; none is new")
    larger = parts.extended(backbone, fresh, settings)
    new = np.zeros(len(larger.catalogue), dtype=bool)
    new[[larger.catalogue.index_of(item) for item in fresh["item_id"].to_list()]] = True
    return larger, new


def rank_among(
    parts: Parts,
    new: NDArray[np.bool_],
    persons: Sequence[Person],
    k: int,
    asking: Asking | Sequence[Asking],
    *,
    excluded: Sequence[NDArray[np.int64]] | None = None,
    newcomers: Newcomers | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best of the new items for each person: items int64 [n, k] and scores float32 [n, k].

    Behaviour speaks through likeness of content, words through the item tokens, as in the fused reading.

    Parameters
    ----------
    new
        bool [n_items], the items to rank.
    excluded
        Of each person, items that may not come.
    newcomers
        By what likeness of content; that of the parts by default.
    """
    heard = parts.behaviour.scorers["ease"].scores([person.items for person in persons])
    scores = (newcomers or parts.newcomers).scores(heard, parts.behaviour.log_shares)
    asked = each_asking(asking, len(persons))
    if any(said.worded for said in asked):
        scores += parts.token_reading.change(persons, asked)
    best = top_k(scores, k, closed_items(scores.shape, excluded, new))
    return best.items, best.scores
