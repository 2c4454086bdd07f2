"""Business rules: what is never shown, what stands where, and what a list as a whole must be like.

The rules of a policy always work in the order of `ORDER`, however the file is written:

1. ``block`` takes candidates away.
2. ``boost``, ``bury`` and ``freshness`` change scores. Their unit is the standard deviation of the user's scores, so
   that they mean the same for every scorer: a factor f adds ``ln f`` of it, a factor for each matching category.
3. ``diversity`` and ``taste`` weigh the list as a whole, together: taste takes its weight of the whole, diversity its
   balance of what taste leaves.
4. ``long_tail`` and ``quota`` decide which items are in the list, where the order of 3 alone would break them.
5. ``pin`` puts items that may come at their ranks, also items that were no candidates. Pinned items count in 3 and 4,
   and can exceed a quota.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, model_validator

from flanrec.errors import SettingsError
from flanrec.metrics.lists import EMPTY, BoolArray, IntegerArray, ItemLists, check_lists
from flanrec.ranking.diversity import diversity_term
from flanrec.ranking.exposure import freshness, long_tail_least
from flanrec.ranking.facts import CATEGORY, ItemFacts
from flanrec.ranking.naming import check_names
from flanrec.ranking.plan import Note, Plan, Reranked, moves, moves_table
from flanrec.ranking.rules import Block, Diversity, Freshness, LongTail, Quota, Rules, Taste, explain, read_toml
from flanrec.ranking.taste import taste_term

ORDER = ("block", "boost", "bury", "freshness", "diversity", "taste", "long_tail", "quota", "pin")


class Policy(Rules):
    """Rules of a re-ranking; without any, nothing changes.

    Examples
    --------
    >>> facts = ItemFacts(["a", "b", "c"], np.array([5, 3, 1]), {"category": [("Drama",), ("War",), ("Drama",)]})
    >>> policy = Policy.parse({"block": {"categories": ["War"]}, "pin": {"c": 1}})
    >>> policy.apply(np.array([[0, 1, 2]]), np.array([[0.9, 0.8, 0.1]]), facts, k=2).items.tolist()
    [[2, 0]]
    """

    block: Block = Block()
    """What is never shown."""
    boost: dict[str, Annotated[float, Field(ge=1, allow_inf_nan=False)]] = Field(default_factory=dict)
    """Category to a factor of at least 1."""
    bury: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    """Category to a factor of at most 1."""
    freshness: Freshness | None = None
    """A bonus that fades with age."""
    diversity: Diversity | None = None
    """Lists of items that differ."""
    taste: Taste | None = None
    """Categories in the proportions of the user's history."""
    long_tail: LongTail | None = None
    """Room for items outside the head."""
    quota: dict[str, dict[str, Quota]] = Field(default_factory=dict)
    """Column of the items table, then a value of it, to least and most items."""
    pin: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Item id to the rank that it stands at for everybody who does not have it yet."""

    @model_validator(mode="after")
    def _consistent(self) -> Policy:
        if len(set(self.pin.values())) < len(self.pin):
            raise ValueError(f"two items are pinned at one rank: {self.pin}; give each its own")
        both = sorted({str(item) for item in self.block.items} & set(self.pin))
        if both:
            raise ValueError(f"items {', '.join(both)} are blocked and pinned; keep one of the two")
        return self

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read a TOML file.

        Raises
        ------
        SettingsError
            The file cannot be read, has a key that is not known, or a value that cannot work: all of them at once.
        """
        return cls.parse(read_toml(Path(path)), str(path))

    @classmethod
    def parse(cls, tables: dict[str, Any], source: str = "policy") -> Policy:
        """Check tables as they stand in a file; `source` names them in errors."""
        try:
            return cls.model_validate(tables)
        except ValidationError as problem:
            raise explain(problem, cls, source) from problem

    @property
    def active(self) -> tuple[str, ...]:
        """Rules that there are, in their order."""
        none = Policy()
        return tuple(rule for rule in ORDER if getattr(self, rule) != getattr(none, rule))

    def alone(self, rule: str) -> Policy:
        """Return a policy with one of the rules only."""
        return Policy(**{rule: getattr(self, rule)})

    def check(self, items: ItemFacts, source: str = "policy") -> list[Note]:
        """As `flanrec.ranking.naming.check_names`, which `apply` calls too."""
        return check_names(self, items, source)

    def apply(
        self,
        candidates: IntegerArray,
        scores: npt.NDArray[np.floating[Any]],
        items: ItemFacts,
        histories: ItemLists | None = None,
        k: int = 10,
        reasons: bool = True,
        *,
        seen: bool = False,
        allowed: BoolArray | None = None,
    ) -> Reranked:
        """Return lists of k items under these rules.

        Parameters
        ----------
        candidates, scores
            ``[n_users, n_candidates]``, catalogue indices with -1 for none, and any scores: more is better.
        histories
            What each user has; taste needs it, and pins leave out what a user already has.
        reasons
            Whether to say what each rule moved. It costs one selection a rule instead of one in all.
        seen
            Whether items of the histories may be pinned too.
        allowed
            ``bool[n_items]``, items that may be pinned; None for all.

        Raises
        ------
        SettingsError
            A rule needs a column, a value, an age, vectors or histories that are not there, or pins what is blocked.
        DataError
            Shapes do not fit, or a candidate is outside the catalogue.
        """
        plan = Plan.of(candidates, scores, items, k)
        if histories is not None:
            check_lists(histories, len(plan.candidates), "histories")
        told, found = self.check(items), []
        pins = self._pinned(items, plan.k, allowed, told)
        chosen, values = plan.lists()
        for rule in self.active:
            if rule == "pin":
                plan = plan.with_pins(pins, None if seen else histories, told)
                targets: BoolArray | None = _marked(pins, len(items))
            else:
                plan, targets = self._add(rule, plan, items, histories)
            if reasons:
                before = chosen
                chosen, values = plan.lists()
                found.append(moves(rule, before, chosen, targets))
        if self.active and not reasons:
            chosen, values = plan.lists()
        return Reranked(chosen, values, (*told, *plan.notes(chosen)), moves_table(found))

    def blocked(self, items: ItemFacts) -> BoolArray:
        """Return ``bool[n_items]``: the item is never shown."""
        blocked = np.zeros(len(items), dtype=np.bool_)
        blocked[[place for one in self.block.items if (place := items.index(str(one))) is not None]] = True
        for category in self.block.categories:
            blocked |= items.members(CATEGORY, category)
        return blocked

    def _add(
        self, rule: str, plan: Plan, items: ItemFacts, histories: ItemLists | None
    ) -> tuple[Plan, BoolArray | None]:
        """The plan with one more rule, and the items it names, or None for those it moves as a whole."""
        if rule == "block":
            blocked = self.blocked(items)
            return plan.without(blocked), blocked
        if rule in ("boost", "bury"):
            bonus = np.zeros(len(items))
            for category, factor in getattr(self, rule).items():
                bonus[items.members(CATEGORY, category)] += np.log(factor)
            return plan.with_bonus(bonus), bonus != 0
        if rule == "freshness" and self.freshness is not None:
            ages = items.ages[self.freshness.by]
            return plan.with_bonus(self.freshness.weight * freshness(ages, self.freshness.half_life_days)), None
        if rule == "diversity" and self.diversity is not None:
            make = diversity_term(self.diversity.method, items.similarity, plan.k)
            return replace(plan, balance=self.diversity.balance, diversity=make), None
        if rule == "taste" and self.taste is not None:
            if histories is None:
                raise SettingsError("the rule taste needs the users' histories, and none were given")
            make = taste_term(histories, items.category_shares, len(plan.candidates))
            return replace(plan, taste_weight=self.taste.weight, taste=make), None
        quotas = plan.quotas
        if rule == "long_tail" and self.long_tail is not None:
            least = min(plan.k, long_tail_least(self.long_tail.share, plan.k))
            quotas = quotas.with_group("long_tail", items.tail, least, plan.k)
        if rule == "quota":
            for column, values in self.quota.items():
                for value, quota in values.items():
                    most = max(plan.k, quota.min) if quota.max is None else quota.max
                    quotas = quotas.with_group(f"quota.{column}.{value}", items.members(column, value), quota.min, most)
        return replace(plan, quotas=quotas), None

    def _pinned(self, items: ItemFacts, k: int, allowed: BoolArray | None, notes: list[Note]) -> npt.NDArray[np.int64]:
        """The item that stands at each rank, ``int64[k]``."""
        ranks = np.full(k, EMPTY, dtype=np.int64)
        none = np.zeros(0, np.int64)
        for item, rank in self.pin.items():
            place = items.index(item)
            if place is None:
                continue
            if rank > k:
                notes.append(Note("pin", f"rank {rank} of item {item} is beyond lists of {k}", none))
            elif allowed is not None and not allowed[place]:
                notes.append(Note("pin", f"item {item} may not come in these lists, so it is not pinned", none))
            else:
                ranks[rank - 1] = place
        return ranks


def _marked(places: npt.NDArray[np.int64], n_items: int) -> BoolArray:
    marked = np.zeros(n_items, dtype=np.bool_)
    marked[places[places != EMPTY]] = True
    return marked
