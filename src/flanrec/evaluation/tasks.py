"""What methods are compared on: a log to learn from, users to rank for, and what those did next."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flanrec.catalogue.people import Person, people
from flanrec.data import Dataset, Split, assert_no_leak, cold_items, few_users, leave_one_out, new_users, temporal
from flanrec.errors import DataError, SettingsError
from flanrec.evaluation.protocol import repeat_notes
from flanrec.metrics import UserItems
from flanrec.recommender.tables import joined

Rule = Literal["leave-one-out", "temporal", "cold-items", "new-users", "few-users"]

_SPLITS: Mapping[Rule, Callable[[Dataset, int], Split]] = MappingProxyType(
    {
        "leave-one-out": lambda dataset, seed: leave_one_out(dataset),
        "temporal": lambda dataset, seed: temporal(dataset),
        "cold-items": lambda dataset, seed: cold_items(dataset, seed=seed),
        "new-users": lambda dataset, seed: new_users(dataset, seed=seed),
        "few-users": lambda dataset, seed: few_users(dataset, seed=seed),
    }
)
RULES: tuple[Rule, ...] = tuple(_SPLITS)

MEANING: Mapping[str, str] = MappingProxyType(
    {
        "leave-one-out": "each user's last event is held out, the events before it are known",
        "temporal": "the newest tenth of all events is held out, cut at one moment for everybody",
        "cold-items": "15 % of the items are drawn and all their events held out; only these items are ranked, for the "
        "users who took one",
        "new-users": "10 % of the users are drawn and never trained on; their last event is held out, and the events "
        "before it are told when they ask",
        "few-users": "10 % of the users are drawn, and training sees their histories alone; for every other user the "
        "last event is held out, and the events before it are told when they ask",
    }
)
"""Each split in words."""


@dataclass(frozen=True, eq=False)
class RankingTask:
    """One split as every method meets it.

    Attributes
    ----------
    rule, seed
        How the split was made, and the seed of its draw and of the draw of users.
    known
        All that methods may learn from.
    user_ids, people
        The users, and what is known of each when asking; items of their histories are removed from the lists.
    relevant
        What they did afterwards: catalogue indices, at least one a user.
    allowed
        bool [n_items], which items are ranked; None for the whole catalogue.
    notes
        What a reader must know.
    """

    rule: Rule
    seed: int
    known: Dataset
    user_ids: list[Any]
    people: list[Person]
    relevant: UserItems
    allowed: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return self.known.items.height

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Training events of each item: int64 [n_items]."""
        return np.bincount(self.known.sequences().items, minlength=self.n_items).astype(np.int64)

    @cached_property
    def known_fingerprint(self) -> str:
        """SHA-256 of what methods may learn from."""
        return self.known.fingerprint()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that a method meets."""
        digest = hashlib.sha256(f"{self.known_fingerprint} {len(self.people)}\n".encode())
        for person in self.people:
            times = np.zeros(0) if person.times is None else person.times
            for array in (np.array([len(person.items)]), person.items, person.ratings, times):
                digest.update(np.ascontiguousarray(array).tobytes())
            digest.update("\0".join(person.reviews).encode())
        digest.update(self.relevant.offsets.tobytes() + self.relevant.items.tobytes())
        digest.update(b"" if self.allowed is None else self.allowed.tobytes())
        return digest.hexdigest()


def ranking_task(
    dataset: Dataset, rule: Rule, seed: int = 42, sample: int | None = None, users: int | None = None
) -> RankingTask:
    """Split a log and say who is asked what.

    Parameters
    ----------
    rule
        One of `RULES`; `MEANING` says what each does.
    sample
        Most users to ask, drawn by `seed`; all by default.
    users
        How many users training sees, for ``few-users`` alone; a tenth by default.

    Raises
    ------
    SettingsError
        The rule is unknown, or users are given for another one or are too many.
    DataError
        The split leaves nothing to learn from, or nobody to ask.
    """
    if rule not in _SPLITS:
        raise SettingsError(f"split {rule!r} is not known; use one of {', '.join(RULES)}")
    if users is not None and rule != "few-users":
        raise SettingsError(f"users is {users}, but only few-users is trained on so many; the split is {rule}")
    split = _SPLITS[rule](dataset, seed) if users is None else few_users(dataset, seed=seed, users=users)
    assert_no_leak(split)
    known, test = joined(split.train, split.validation), split.test
    history, notes = known, []
    if rule in ("new-users", "few-users"):
        history, test = _last_apart(test)
        left_out = len(split.test.user_ids) - len(test.user_ids)
        if left_out:
            notes.append(f"{left_out} users with a single event are left out: nothing is known of them")
    if not known.interactions.height or not test.interactions.height:
        raise DataError(
            f"{dataset.name} is too small for {rule}: {known.interactions.height} events to learn from, "
            f"{test.interactions.height} held out; give a larger log or another split"
        )
    ids = _drawn(test.user_ids, sample, seed)
    asked, events = people(history, ids), test.sequences(ids)
    relevant = UserItems(events.offsets, events.items)
    strangers = sum(not len(person.items) for person in asked)
    if strangers:
        notes.append(f"{strangers} of {len(ids)} users have no history when they ask")
    notes += repeat_notes(relevant, UserItems.from_lists([person.items.tolist() for person in asked]))
    task = RankingTask(rule, seed, known, ids, asked, relevant, None, tuple(notes))
    if rule != "cold-items":
        return task
    cold = np.zeros(task.n_items, dtype=bool)
    cold[split.test.sequences().items] = True
    return replace(task, allowed=cold)


def _last_apart(test: Dataset) -> tuple[Dataset, Dataset]:
    """The events before the last one of each user who has several, and that last one."""
    ordered = test.interactions.sort("user_id", "timestamp", "row", maintain_order=True)
    from_end = pl.int_range(pl.len(), dtype=pl.Int64).reverse().over("user_id")
    marked = ordered.with_columns(from_end.alias("_from_end"), pl.len().over("user_id").alias("_events"))
    before = marked.filter(pl.col("_from_end") > 0)
    last = marked.filter((pl.col("_from_end") == 0) & (pl.col("_events") > 1))
    return test.with_interactions(before), test.with_interactions(last)


def _drawn(ids: list[Any], sample: int | None, seed: int) -> list[Any]:
    if sample is None or sample >= len(ids):
        return ids
    if sample < 1:
        raise SettingsError(f"the sample is of {sample} users; ask at least one")
    drawn = np.random.default_rng(seed).choice(len(ids), sample, replace=False)
    return [ids[at] for at in np.sort(drawn)]
