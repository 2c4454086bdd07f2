"""Lists that were asked for together, made together."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.people import Person
from flanrec.errors import FlanrecError
from flanrec.explanation import Explanation
from flanrec.ranking.policy import Policy
from flanrec.recommender.answering import Reading
from flanrec.recommender.asking import Asking
from flanrec.recommender.requests import basis_of
from flanrec.serving.live import Live

logger = logging.getLogger(__name__)

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
_NOTHING = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Filters:
    """Which items may come.

    Attributes
    ----------
    columns
        Column of the items table and values, of which an item has at least one; every column must agree.
    years
        First and last; None for open ends.
    only
        Catalogue indices that alone may come; None for all.
    """

    columns: tuple[tuple[str, tuple[str, ...]], ...] = ()
    years: tuple[int | None, int | None] = (None, None)
    only: tuple[int, ...] | None = None

    @property
    def none(self) -> bool:
        """Whether everything may come."""
        return not self.columns and self.years == (None, None) and self.only is None

    def mask(self, live: Live) -> NDArray[np.bool_]:
        """bool [n_items]

        Raises
        ------
        SettingsError
            There is no such column.
        """
        facts = live.recommender.parts.item_facts
        mask = live.open.copy()
        for column, values in self.columns:
            mask &= np.any([facts.members(column, value) for value in values], axis=0)
        first, last = self.years
        if self.years != (None, None):
            years = np.array([np.nan if year is None else year for year in live.recommender.parts.catalogue.years])
            mask &= (years >= (-np.inf if first is None else first)) & (years <= (np.inf if last is None else last))
        if self.only is not None:
            chosen = np.zeros(len(mask), dtype=bool)
            chosen[list(self.only)] = True
            mask &= chosen
        return mask


@dataclass(frozen=True, eq=False)
class Wanted:
    """A list that somebody wants.

    Attributes
    ----------
    live
        By which model.
    person
        For whom.
    asking
        What was said.
    k
        Length.
    reading, seen
        As `Recommender.recommend` takes them.
    filters
        Which items may come.
    without
        Catalogue indices that may not.
    policy
        Re-ranks; None for none.
    sources
        Tell what every source gave.
    reasons
        How many of the first items to explain.
    """

    live: Live
    person: Person
    asking: Asking
    k: int
    reading: Reading = "fused"
    seen: bool = False
    filters: Filters = Filters()
    without: Ints = field(default_factory=lambda: _NOTHING)
    policy: Policy | None = None
    sources: bool = False
    reasons: int = 0

    @property
    def group(self) -> Hashable:
        """What those have in common that are ranked in one call."""
        rules = None if self.policy is None else (self.policy.model_dump_json(), tuple(self.without.tolist()))
        return id(self.live), self.k, self.reading, self.seen, self.filters, rules


@dataclass(frozen=True, eq=False)
class Listed:
    """A list as it was made.

    Attributes
    ----------
    items, scores
        Best first.
    basis
        What the list rests on first: ``history``, ``words``, ``attributes`` or ``popularity``.
    sources
        What every source gave each item, where that was asked.
    reasons
        Of the first items, where they were asked for.
    used
        Which sources were.
    fallback
        Why the list is not the model's; "" where it is.
    """

    items: Ints
    scores: Floats
    basis: str
    sources: Mapping[str, Floats] = field(default_factory=dict)
    reasons: tuple[Explanation, ...] = ()
    used: tuple[str, ...] = ()
    fallback: str = ""


def make_lists(wanted: Sequence[Wanted]) -> list[Listed | Exception]:
    """Make lists, those alike in one call of the model.

    Where the model fails, a list is made of what is popular and says so; what somebody asked wrongly is an exception in
    the place of their list.
    """
    found: list[Listed | Exception] = [ValueError("not made")] * len(wanted)
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for at, one in enumerate(wanted):
        groups[one.group].append(at)
    for places in groups.values():
        for at, answer in zip(places, _together([wanted[at] for at in places]), strict=True):
            found[at] = answer
    return found


def _together(alike: Sequence[Wanted]) -> Sequence[Listed | Exception]:
    try:
        return _made(alike)
    except FlanrecError as problem:
        if len(alike) == 1:
            return [problem]
    except Exception:
        if len(alike) == 1:
            logger.exception("the model failed on one request; it gets what is popular")
            return [_popular_instead(alike[0])]
        logger.exception("the model failed on %d requests together; they are asked one by one", len(alike))
    return [answer for one in alike for answer in _together([one])]


def _made(alike: Sequence[Wanted]) -> list[Listed | Exception]:
    first, live = alike[0], alike[0].live
    allowed = None if first.filters.none else first.filters.mask(live)
    persons = [one.person for one in alike]
    closed: list[Ints] | None = [np.union1d(one.without, live.closed) for one in alike]
    if first.policy is not None:
        allowed = live.open.copy() if allowed is None else allowed
        allowed[first.without] = False
        closed = None
    elif not len(live.closed) and not any(len(one.without) for one in alike):
        closed = None
    items, scores = live.recommender.rank_open(
        persons, first.k, [one.asking for one in alike], reading=first.reading, seen=first.seen, allowed=allowed,
        closed=closed, policy=first.policy,
    )  # fmt: skip
    return [_listed(one, items[row], scores[row]) for row, one in enumerate(alike)]


def _listed(one: Wanted, items: Ints, scores: Floats) -> Listed:
    items, scores = items[items >= 0], scores[items >= 0]
    if not np.isfinite(scores).all():
        raise ArithmeticError("the model gave scores that are not finite")
    sources: dict[str, Floats] = {}
    if one.sources and one.reading == "fused" and len(items):
        told = one.live.recommender.fused_reading.contributions([one.person], items[None], one.asking)
        sources = {name: values[0] for name, values in told.items()}
    reasons = explain_items(one.live, one.person, items[: one.reasons].tolist(), one.asking.wish, one.without)
    return Listed(items, scores, basis_of(one.person, one.asking.worded), sources, reasons, _used(one))


def _used(one: Wanted) -> tuple[str, ...]:
    """The sources that a list was made of."""
    if one.reading != "fused":
        return (one.reading,)
    fusion = one.live.recommender.parts.fusion.base
    heard = [name.removesuffix(".score") for name, weight in zip(fusion.names, fusion.weights, strict=True) if weight]
    return (*heard, *(("words",) if one.asking.worded else ()))


def explain_items(
    live: Live, person: Person, items: Sequence[int], wish: str, without: Ints = _NOTHING
) -> tuple[Explanation, ...]:
    """What speaks for each of some items; the model is asked once for all of them.

    Parameters
    ----------
    without
        Catalogue indices of items that this person does not get; like those that were deleted, they have no rank.
    """
    if not len(items):
        return ()
    return live.recommender.explain_person(person, items, wish, np.union1d(live.closed, without))


def _popular_instead(one: Wanted) -> Listed | Exception:
    """What is popular and may come."""
    live = one.live
    try:
        mask = one.filters.mask(live)
    except Exception as problem:
        return problem
    mask[one.without] = False
    if not one.seen:
        mask[one.person.items] = False
    items = live.by_popularity[mask[live.by_popularity]][: one.k]
    counts = live.recommender.parts.catalogue.popularity[items]
    return Listed(
        items, np.log(counts + 1.0).astype(np.float32), "popularity", used=("popularity",), fallback="the model failed"
    )
