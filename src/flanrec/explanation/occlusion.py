"""What speaks for an item: the events, and the words, without which it would score lower."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.facets import Facets
from flanrec.catalogue.items import Catalogue
from flanrec.catalogue.people import Person
from flanrec.instructions.profiles import quoted


@dataclass(frozen=True)
class Reason:
    """One event of the history and what it does for the item.

    Attributes
    ----------
    item_id, title
        Of the event.
    effect
        How much lower the item's log-probability of coming next is without this event; negative where
        the event speaks against it.
    shared
        Categories and decades that both have.
    review
        What the user wrote of it, shortened; "" for nothing.
    """

    item_id: Any
    title: str
    effect: float
    shared: tuple[str, ...]
    review: str = ""

    def to_text(self) -> str:
        """The title with what is shared, and what the user wrote."""
        said = f"you wrote: “{self.review}”" if self.review else ""
        notes = [note for note in (f"{', '.join(self.shared)} too" if self.shared else "", said) if note]
        return f"{self.title} ({'; '.join(notes)})" if notes else self.title


@dataclass(frozen=True)
class Explanation:
    """Why an item, for a user.

    Attributes
    ----------
    score
        Log-probability of coming next.
    rank
        Place among all items that the user does not have, from 1.
    seen
        Whether the user has the item already; its own event is then one of those that may speak for it.
    reasons
        Events that speak for the item, the strongest first.
    against
        The event that speaks against it the most, if any does.
    wish, wish_effect
        The wish, and how much it adds to the log-probability; "" and 0 without one.
    facets
        Categories and decade of the item.
    favourites
        Those of them that are among the user's favourite categories.
    prompt
        The instruction as the model read it.
    """

    item_id: Any
    title: str
    score: float
    rank: int
    seen: bool
    reasons: tuple[Reason, ...]
    against: Reason | None
    wish: str
    wish_effect: float
    facets: tuple[str, ...]
    favourites: tuple[str, ...]
    prompt: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def to_text(self) -> str:
        """In a few sentences."""
        place = "would be" if self.seen else "is"
        parts = [f"{self.title} {place} number {self.rank} of what you do not have yet."]
        if self.reasons:
            parts.append(f"It is here because of {_joined([reason.to_text() for reason in self.reasons])}.")
        if self.favourites:
            parts.append(f"You often choose {_joined(self.favourites)}.")
        if self.wish:
            change = "raises" if self.wish_effect > 0 else "lowers"
            parts.append(
                f"Your wish for {self.wish} {change} its odds by a factor of {np.exp(abs(self.wish_effect)):.1f}."
            )
        if self.against is not None:
            parts.append(f"{self.against.title} speaks against it.")
        if not self.reasons and not self.favourites and not self.wish:
            parts.append("Nothing of your history speaks for it; it suits many.")
        return " ".join(parts)


def explain(
    person: Person,
    item: int,
    score: Callable[[Sequence[Person], str], NDArray[np.float32]],
    catalogue: Catalogue,
    facets: Facets,
    *,
    favourite_categories: Sequence[str] = (),
    wish: str = "",
    prompt: str = "",
    closed: NDArray[np.int64] | None = None,
    window: int = 40,
    most: int = 3,
) -> Explanation:
    """Explain by leaving out: each of the newest events is removed in turn, and the item scored again.

    This tells what the model itself relies on, rather than a story about it (occlusion; Zeiler and
    Fergus, 2014, for images).

    Parameters
    ----------
    score
        From people and a wish to log-probabilities float32 [n, n_items].
    closed
        Catalogue indices of items that may not be recommended; they have no place in the ranking.
    window
        Newest events to try.
    most
        Reasons to name.
    """
    count = len(person.items)
    tried = list(range(max(0, count - window), count))
    without = [person.without(at) for at in tried]
    whole = score([person], wish)[0]
    effects = float(whole[item]) - score(without, wish)[:, item] if without else np.zeros(0)
    open_ = np.ones(len(catalogue), dtype=bool)
    open_[person.items] = False
    if closed is not None:
        open_[closed] = False
    own = facets.members[item]

    def reason(place: int) -> Reason:
        event = int(person.items[tried[place]])
        shared = tuple(facets.names[at] for at in np.flatnonzero(own & facets.members[event]))
        written = quoted(person.reviews[tried[place]]) if person.reviews else ""
        return Reason(catalogue.item_ids[event], catalogue.titles[event], float(effects[place]), shared, written)

    order = np.argsort(-effects, kind="stable")
    named = tuple(facets.names[at] for at in np.flatnonzero(own))
    worst = int(order[-1]) if len(order) else -1
    return Explanation(
        item_id=catalogue.item_ids[item],
        title=catalogue.titles[item],
        score=float(whole[item]),
        rank=int((whole[open_] > whole[item]).sum()) + 1,
        seen=bool((person.items == item).any()),
        reasons=tuple(reason(int(place)) for place in order[:most] if effects[place] > 0),
        against=reason(worst) if worst >= 0 and effects[worst] < -0.1 else None,
        wish=wish,
        wish_effect=float(whole[item] - score([person], "")[0, item]) if wish else 0.0,
        facets=named,
        favourites=tuple(name for name in named if name in favourite_categories),
        prompt=prompt,
    )


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
