"""What a re-ranking costs in accuracy, and what it buys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from flanrec.errors import DataError
from flanrec.metrics import PairedDifference, category_share, coverage, hit_rate, ndcg, paired_bootstrap
from flanrec.metrics.lists import EMPTY, FloatArray, IntegerArray, ItemLists, check_ranked
from flanrec.ranking.diversity import unit_rows
from flanrec.ranking.facts import ItemFacts
from flanrec.ranking.taste import divergence_of_lists

DEFINITIONS = MappingProxyType(
    {
        "ndcg": "normalised discounted cumulative gain of the top k against the held-out items",
        "hit_rate": "share of users with a held-out item in their top k",
        "diversity": "1 - mean cosine of the vectors of all pairs of items in a list; higher is more diverse",
        "tail_share": "share of a list from outside the smallest set of items with 80 % of the events",
        "divergence": "KL divergence in nats of a list's categories from its history's; lower is nearer to the taste",
        "coverage": "share of the catalogue that is in at least one list; it belongs to all lists together",
    }
)


@dataclass(frozen=True)
class Change:
    """One metric before and after, means over the users for whom both are defined (NaN without any).

    ``difference`` is after minus before, with its interval; None for a property of all lists together.
    """

    metric: str
    before: float
    after: float
    difference: PairedDifference | None


@dataclass(frozen=True)
class Price:
    """All changes that one re-ranking made."""

    name: str
    changes: tuple[Change, ...]

    def __getitem__(self, metric: str) -> Change:
        """Return the change of a metric of `DEFINITIONS`."""
        return next(change for change in self.changes if change.metric == metric)


@dataclass(frozen=True)
class Prices:
    """What each re-ranking cost and bought."""

    prices: tuple[Price, ...]
    k: int
    users: int

    def __getitem__(self, name: str) -> Price:
        """Return the price of a re-ranking by its name."""
        return next(price for price in self.prices if price.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; a number that is not defined becomes None."""
        rows = {
            price.name: {change.metric: _plain(asdict(change), "metric") for change in price.changes}
            for price in self.prices
        }
        return {"k": self.k, "users": self.users, "prices": rows, "definitions": dict(DEFINITIONS)}

    def to_table(self, title: str = "the price of re-ranking") -> Table:
        """Return a table for the terminal, a row for each metric of each re-ranking, definitions below."""
        below = [f"{self.users} users, lists of {self.k}; intervals: paired bootstrap over users"]
        below += [f"{name}: {words}" for name, words in DEFINITIONS.items()]
        table = Table(title=title, caption="\n".join(below), caption_justify="left", min_width=78)
        table.add_column("re-ranking", no_wrap=True)
        table.add_column("metric", no_wrap=True)
        for name in ("before", "after", "change", "interval"):
            table.add_column(name, justify="right", no_wrap=True)
        for price in self.prices:
            for place, change in enumerate(price.changes):
                gap = change.difference
                table.add_row(
                    escape(price.name) if place == 0 else "",
                    change.metric,
                    _text(change.before),
                    _text(change.after),
                    _text(change.after - change.before, sign=True),
                    "" if gap is None else f"{_text(gap.low, sign=True)} – {_text(gap.high, sign=True)}",
                    end_section=place == len(price.changes) - 1,
                )
        return table

    def __rich__(self) -> Table:
        """Let a rich console print the prices."""
        return self.to_table()


def prices(
    plain: IntegerArray,
    reranked: Mapping[str, IntegerArray],
    relevant: ItemLists,
    items: ItemFacts,
    histories: ItemLists,
    k: int = 10,
    seed: int = 42,
) -> Prices:
    """Compare re-ranked lists with the plain ones, user by user.

    Parameters
    ----------
    plain
        ``int[n_users, >= k]`` before.
    reranked
        Name to lists of the same users after.
    relevant, histories
        Held-out items, and what the users had, for the same users.
    items
        Says which items are of the tail, their categories, and vectors (or else categories) for the diversity.

    Raises
    ------
    DataError
        When lists are of other users or shorter than k.
    """
    for name, lists in {"plain": plain, **reranked}.items():
        if np.ndim(lists) != 2 or np.shape(lists)[0] != len(plain) or np.shape(lists)[1] < k:
            raise DataError(f"lists {name!r} have shape {np.shape(lists)}; {len(plain)} users and {k} ranks are needed")
    before = _measured(plain, relevant, items, histories, k)
    rows = []
    for name, lists in reranked.items():
        after = _measured(lists, relevant, items, histories, k)
        changes = [_change(metric, before[metric], after[metric], seed) for metric in before]
        old, new = coverage(plain[:, :k], len(items)), coverage(lists[:, :k], len(items))
        rows.append(Price(name, (*changes, Change("coverage", old, new, None))))
    return Prices(tuple(rows), k, len(plain))


def intra_list_diversity(ranked: IntegerArray, items: ItemFacts) -> FloatArray:
    """Return 1 - mean cosine over all pairs of a list, ``float64[n_users]``; NaN for lists of fewer than two items."""
    ranked = check_ranked(ranked, len(items))
    filled = np.asarray(ranked != EMPTY)
    unit = unit_rows(items.likeness.astype(np.float64))[np.maximum(ranked, 0)] * filled[:, :, None]
    # The squared length of a sum of vectors is the sum of all their products, those with themselves included.
    products = np.square(unit.sum(axis=1)).sum(axis=1) - np.square(unit).sum(axis=(1, 2))
    count = filled.sum(axis=1)
    pairs = count * (count - 1)
    return np.where(pairs > 0, 1.0 - products / np.maximum(pairs, 1), np.nan)


def _measured(
    ranked: IntegerArray, relevant: ItemLists, items: ItemFacts, histories: ItemLists, k: int
) -> dict[str, FloatArray]:
    top = np.asarray(ranked)[:, :k]
    values = {"ndcg": ndcg(top, relevant, k), "hit_rate": hit_rate(top, relevant, k)}
    values["tail_share"] = category_share(top, items.tail)
    if items.vectors is not None or items.category_shares.shape[1]:
        values["diversity"] = intra_list_diversity(top, items)
    if items.category_shares.shape[1]:
        values["divergence"] = divergence_of_lists(top, histories, items.category_shares)
    return {name: values[name] for name in DEFINITIONS if name in values}


def _change(metric: str, before: FloatArray, after: FloatArray, seed: int) -> Change:
    both = np.isfinite(before) & np.isfinite(after)
    gap = paired_bootstrap(after, before, seed=seed)
    if not both.any():
        return Change(metric, float("nan"), float("nan"), gap)
    return Change(metric, float(before[both].mean()), float(after[both].mean()), gap)


def _plain(values: dict[str, Any], *left_out: str) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in values.items():
        if name in left_out:
            continue
        if isinstance(value, dict):
            plain[name] = _plain(value)
        else:
            plain[name] = None if isinstance(value, float) and not math.isfinite(value) else value
    return plain


def _text(value: float, sign: bool = False) -> str:
    if not math.isfinite(value):
        return "undefined"
    return f"{value:+.4f}" if sign else f"{value:.4f}"
