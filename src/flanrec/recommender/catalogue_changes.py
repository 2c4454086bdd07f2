"""A fitted recommender whose catalogue changes between two fits: items that come, and items that are worded anew."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from flanrec.catalogue.like_rates import LikeRates
from flanrec.data.arrivals import with_changed_items
from flanrec.recommender.answering import Answering
from flanrec.recommender.parts import Parts
from flanrec.recommender.updating.sources import behaviour_after


def changed_catalogue(model: Answering, items: pl.DataFrame) -> Parts:
    """The parts of a recommender with some items new, or worded anew; nothing is learnt.

    New items stand behind the known ones and are recommended from their text alone, like items without events. A known
    item keeps its place, its events and what was learnt of them. Parts that are not touched are shared.

    Parameters
    ----------
    items
        As `flanrec.data.load_items` gives it; columns that the known items lack are not used.

    Raises
    ------
    DataError
        Ids or values cannot be of the type that the known items have.
    """
    parts = model.parts
    dataset, rows = with_changed_items(parts.dataset, items)
    grown = parts.with_items(model.backbone, rows, model.settings)
    behaviour = behaviour_after(parts.behaviour, parts.dataset, dataset, grown.catalogue, grown.facets)
    rates = LikeRates.of(dataset.sequences(), model.settings.liked_rating)
    return replace(grown, dataset=dataset, behaviour=behaviour, rates=rates)
