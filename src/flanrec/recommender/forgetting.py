"""A fitted recommender without some of its users."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import polars as pl

from flanrec.recommender.answering import Answering
from flanrec.recommender.parts import Parts
from flanrec.recommender.tables import stored_ids


def without_users(model: Answering, users: Iterable[Any]) -> Parts:
    """The parts of a recommender whose log lacks some users: their events, attributes and reviews.

    What counts events is fitted again without them. The T5 and the item tokens keep what they learnt of them until the
    next fit. One whom the log does not have is passed over.

    """
    parts, data = model.parts, model.parts.dataset
    gone = stored_ids(list(users), data.interactions["user_id"].dtype)
    tables = {
        name: table.filter(~pl.col("user_id").is_in(_like(table, gone).implode()))
        for name in ("interactions", "users", "reviews")
        if (table := getattr(data, name)) is not None
    }
    if all(table.height == getattr(data, name).height for name, table in tables.items()):
        return parts
    dataset = replace(data, **tables)
    unread = data.reviews is not None and tables["reviews"].height < data.reviews.height
    return Parts.assemble(
        model.backbone, dataset, parts.tokens, parts.calibration, parts.fusion, parts.titles,
        None if unread else parts.read_reviews, model.settings,
    )  # fmt: skip


def _like(table: pl.DataFrame, users: list[Any]) -> pl.Series:
    return pl.Series("user_id", users, strict=False).cast(table["user_id"].dtype, strict=False).drop_nulls()
