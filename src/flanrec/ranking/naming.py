"""Whether a catalogue has what a policy names: columns, values of them, ages and items."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from flanrec.errors import SettingsError
from flanrec.ranking.facts import CATEGORY, ItemFacts
from flanrec.ranking.plan import Note

if TYPE_CHECKING:
    from flanrec.ranking.policy import Policy

_SHOWN = 8


def check_names(policy: Policy, items: ItemFacts, source: str = "policy") -> list[Note]:
    """Return a note for each item that the catalogue does not have; items come and go.

    Parameters
    ----------
    source
        Names the policy in errors.

    Raises
    ------
    SettingsError
        A column, a value of a column or an age is unknown, there are no categories for the taste, or an item is
        pinned and a category of it blocked: all of them at once. Such a rule would do nothing without a word.
    """
    problems = [*_groups(policy, items), *_needs(policy, items), *_pins(policy, items)]
    if problems:
        raise SettingsError(f"{source}: " + "; ".join(problems))
    named = [("block.items", str(one)) for one in policy.block.items] + [("pin", one) for one in policy.pin]
    none = np.zeros(0, dtype=np.int64)
    return [Note(rule, f"there is no item {one}", none) for rule, one in named if items.index(one) is None]


def _groups(policy: Policy, items: ItemFacts) -> Iterator[str]:
    named = [("block.categories", CATEGORY, policy.block.categories)]
    named += [(rule, CATEGORY, tuple(getattr(policy, rule))) for rule in ("boost", "bury")]
    named += [(f"quota.{column}", column, tuple(values)) for column, values in policy.quota.items()]
    for rule, column, values in named:
        if values and column not in items.groups:
            known = ", ".join(sorted(items.groups)) or "none"
            yield f"{rule}: the items have no column {column!r} to group by; they have: {known}"
            continue
        for value in values:
            if value not in items.values_of(column):
                yield f"{rule}: no item has {column} {value!r}; {_advice(value, items.values_of(column))}"


def _advice(value: str, known: list[str]) -> str:
    folded = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(value.casefold(), folded, n=1)
    if close:
        return f"the nearest is {folded[close[0]]!r}"
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"known are {', '.join(known[:_SHOWN])}{more}" if known else "no item has any"


def _needs(policy: Policy, items: ItemFacts) -> Iterator[str]:
    if policy.taste is not None and not items.category_shares.shape[1]:
        yield "the rule taste needs categories, and the items have none; add a column category to them"
    if policy.freshness is not None and policy.freshness.by not in items.ages:
        known = ", ".join(items.ages) or "none, which needs timestamps"
        yield f"the rule freshness.by asks for {policy.freshness.by!r}, but ages known are: {known}"


def _pins(policy: Policy, items: ItemFacts) -> Iterator[str]:
    blocked = {category for category in policy.block.categories if CATEGORY in items.groups}
    for item, rank in policy.pin.items():
        place = items.index(item)
        if place is not None and blocked & set(items.groups[CATEGORY][place] if blocked else ()):
            yield f"item {item} is pinned at rank {rank}, but a category of it is blocked; keep one of the two"
