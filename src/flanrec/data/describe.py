"""The figures that say what a data set is like."""

from __future__ import annotations

from typing import Any

import polars as pl


def describe(
    events: pl.DataFrame, items: pl.DataFrame, users: pl.DataFrame | None, reviews: pl.DataFrame | None, name: str
) -> dict[str, Any]:
    """Counts, density, span of time and how much text there is, as plain values; see `Dataset.describe`."""
    user_count = events["user_id"].n_unique()
    times = events["timestamp"]
    result: dict[str, Any] = {
        "name": name,
        "interactions": events.height,
        "users": user_count,
        "items": items.height,
        "items_with_interactions": events["item_id"].n_unique(),
        "density": events.select("user_id", "item_id").n_unique() / (user_count * items.height)
        if events.height
        else 0.0,
        "interactions_per_user": _spread(events, "user_id"),
        "interactions_per_item": _spread(events, "item_id"),
        "first_timestamp": times.min(),
        "last_timestamp": times.max(),
        "items_with_text": _share(items["text"] != ""),
        "items_with_category": _share(items["category"].list.len() > 0),
        "categories": items["category"].explode(empty_as_null=False).n_unique() if items.height else 0,
        "repeated_titles": items.height - items["title"].n_unique(),
        "users_table": None if users is None else users.height,
        "reviews": None if reviews is None else reviews.height,
    }
    if "rating" in events.columns:
        ratings = events["rating"]
        result["rating"] = {"mean": ratings.mean(), "min": ratings.min(), "max": ratings.max()}
    if "event" in events.columns:
        table = events.group_by("event").len().sort("len", "event", descending=[True, False])
        result["events"] = dict(zip(table["event"].to_list(), table["len"].to_list(), strict=True))
    return result


def _share(mask: pl.Series) -> float:
    return int(mask.sum()) / mask.len() if mask.len() else 0.0


def _spread(events: pl.DataFrame, column: str) -> dict[str, float]:
    counts = events.group_by(column).len()["len"]
    if counts.len() == 0:
        return {"min": 0, "median": 0.0, "max": 0}
    return {"min": int(counts.min() or 0), "median": float(counts.median() or 0.0), "max": int(counts.max() or 0)}  # type: ignore[arg-type]
