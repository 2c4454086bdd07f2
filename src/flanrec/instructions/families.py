"""The families of tasks: what each asks for, and which facts its templates may name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

TargetKind = Literal["title", "text", "answer", "number", "none"]


@dataclass(frozen=True)
class Family:
    """What a family of tasks asks for.

    Attributes
    ----------
    name : str
        The word used in template files and on the command line.
    asks : str
        One line for people.
    needs : frozenset of str
        Fields that every template of the family must name, optional fragments included.
    may : frozenset of str
        Further fields a template may name.
    target : str
        Kind of answer: an item title, free text, a yes/no answer, a number, or none in words.
    leak_checked : bool
        Whether the answer must not stand among the facts.
    """

    name: str
    asks: str
    needs: frozenset[str]
    may: frozenset[str]
    target: TargetKind
    leak_checked: bool

    @property
    def fields(self) -> frozenset[str]:
        """All fields a template may name, without the shared words."""
        return self.needs | self.may


SHARED_FIELDS = frozenset({"noun", "nouns"})
"""Fields every template may use: what one item, and several, are called in this domain."""

HISTORY_FIELDS = frozenset({"history", "liked", "disliked"})
"""Lists in time order, oldest first; trimmed from the oldest end when a prompt is too long."""


def _family(name: str, asks: str, needs: str, may: str, target: TargetKind, leak_checked: bool) -> Family:
    return Family(name, asks, frozenset(needs.split()), frozenset(may.split()), target, leak_checked)


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        _family("sequential", "the next item after a history", "history", "profile", "title", True),
        _family("wish", "an item for a wish in plain words", "wish", "avoid history profile", "title", True),
        _family("pick", "the best of some candidates", "candidates", "history wish profile", "title", False),
        _family(
            "match",
            "whether a user would like an item",
            "title",
            "history liked disliked profile wish category text",
            "answer",
            False,
        ),
        _family(
            "rating",
            "the rating a user would give an item",
            "title low high",
            "history liked disliked profile category text",
            "number",
            False,
        ),
        _family("item_from_description", "the item that a text describes", "description", "category", "title", True),
        _family("description_from_item", "a description of an item", "title", "category year", "text", True),
        _family("profile", "a summary of a user's taste", "history", "attributes liked disliked", "text", True),
        _family("review_rating", "the rating that a review came with", "review low high", "title", "number", False),
        _family("item_tokens", "the next item, as a vector", "", "wish avoid profile", "none", True),
    )
}
