"""Behaviour as tasks: what each family of instructions asks, from which facts, for which answer.

A `Task` holds the facts as plain words; a template of the same family gives them their wording.
The builders keep the answer out of the facts and count what they had to remove.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from flanrec.errors import TemplateError
from flanrec.instructions.families import FAMILIES, SHARED_FIELDS
from flanrec.instructions.text import comparable, occurs, sanitise

Value = str | list[str]


@dataclass(frozen=True)
class Task:
    """One thing to ask, in facts.

    Attributes
    ----------
    family : str
        A key of `FAMILIES`.
    fields : dict
        Facts by field name: a text, or a list of texts (histories oldest first). Empty ones count as missing.
    target : str or None
        The answer: a title, a text, ``"yes"`` or ``"no"`` for match, a number. None when it is to be found.
    removed : int
        How many facts a builder took out because they contained the answer.
    """

    family: str
    fields: dict[str, Value] = field(default_factory=dict)
    target: str | None = None
    removed: int = 0

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise TemplateError(f"unknown task family '{self.family}'; known are {', '.join(FAMILIES)}")
        unknown = set(self.fields) - FAMILIES[self.family].fields - SHARED_FIELDS
        if unknown:
            known = sorted(FAMILIES[self.family].fields | SHARED_FIELDS)
            raise TemplateError(
                f"a {self.family} task has no field {', '.join(sorted(unknown))}; its fields are {', '.join(known)}"
            )

    @property
    def present(self) -> frozenset[str]:
        """Names of the fields that hold something."""
        return frozenset(name for name, value in self.fields.items() if value)


def without_target(titles: Iterable[str], target: str | None, *, exact: bool = False) -> tuple[list[str], int]:
    """Take out the titles that contain the answer, or with `exact` just those that are the answer.

    Returns
    -------
    kept : list of str
        The other titles in their order.
    removed : int
        How many were taken out.

    Examples
    --------
    >>> without_target(["Alien", "Heat", "Alien 3"], "alien")
    (['Heat'], 2)
    """
    titles = list(titles)
    if not target:
        return titles, 0
    if exact:
        kept = [title for title in titles if comparable(title) != comparable(target)]
    else:
        kept = [title for title in titles if not occurs(target, title)]
    return kept, len(titles) - len(kept)


_YEAR = re.compile(r"\s*\(\d{4}\)$")


def mask_title(text: str, title: str) -> tuple[str, int]:
    """Replace a title in a text by dots, with and without its year.

    Returns
    -------
    text : str
        The sanitised text without the title.
    masked : int
        How often the title stood there.

    Examples
    --------
    >>> mask_title("In Heat, a thief meets his hunter.", "Heat (1995)")
    ('In ..., a thief meets his hunter.', 1)
    """
    masked, count = sanitise(text), 0
    title = sanitise(title)
    for wording in dict.fromkeys((title, _YEAR.sub("", title))):
        if wording and occurs(wording, masked):
            pattern = r"\s+".join(re.escape(word) for word in wording.split())
            left = r"(?<!\w)" if wording[0].isascii() and wording[0].isalnum() else ""
            right = r"(?!\w)" if wording[-1].isascii() and wording[-1].isalnum() else ""
            masked, found = re.subn(f"{left}{pattern}{right}", "...", masked, flags=re.IGNORECASE)
            count += found
    return masked, count


def _fields(**values: str | Sequence[str] | None) -> dict[str, Value]:
    return {name: value if isinstance(value, str) else list(value) for name, value in values.items() if value}


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def sequential(
    history: Sequence[str], target: str | None = None, *, profile: str = "", noun: str = "", nouns: str = ""
) -> Task:
    """Ask for the next item after a history of titles, oldest first."""
    kept, removed = without_target(history, target)
    return Task("sequential", _fields(history=kept, profile=profile, noun=noun, nouns=nouns), target, removed)


def wish(
    wish: str | Sequence[str],
    target: str | None = None,
    *,
    avoid: str | Sequence[str] = "",
    history: Sequence[str] = (),
    profile: str = "",
    noun: str = "",
    nouns: str = "",
) -> Task:
    """Ask for an item that fits a wish in plain words, optionally after a history."""
    kept, removed = without_target(history, target)
    fields = _fields(wish=wish, avoid=avoid, history=kept, profile=profile, noun=noun, nouns=nouns)
    return Task("wish", fields, target, removed)


def pick(
    candidates: Sequence[str],
    target: str | None = None,
    *,
    history: Sequence[str] = (),
    wish: str | Sequence[str] = "",
    profile: str = "",
    noun: str = "",
    nouns: str = "",
) -> Task:
    """Ask for the best of some candidate titles; the answer is one of them.

    Raises
    ------
    TemplateError
        When the answer is not among the candidates.
    """
    if target is not None and target not in candidates:
        raise TemplateError(f"the answer '{target}' is not among the {len(candidates)} candidates; add it to them")
    kept, removed = without_target(history, target, exact=True)
    fields = _fields(candidates=candidates, history=kept, wish=wish, profile=profile, noun=noun, nouns=nouns)
    return Task("pick", fields, target, removed)


def match(
    title: str,
    liked_it: bool | None = None,
    *,
    history: Sequence[str] = (),
    liked: Sequence[str] = (),
    disliked: Sequence[str] = (),
    profile: str = "",
    wish: str | Sequence[str] = "",
    category: Sequence[str] = (),
    text: str = "",
    noun: str = "",
    nouns: str = "",
) -> Task:
    """Ask whether a user would like an item; the answer is yes or no in the language's words.

    The item is dropped from the histories, where its place would be the answer.
    """
    lists, removed = _lists_without(title, history=history, liked=liked, disliked=disliked)
    fields = _fields(title=title, profile=profile, wish=wish, category=category, text=text, noun=noun, nouns=nouns)
    answer = None if liked_it is None else ("yes" if liked_it else "no")
    return Task("match", fields | lists, answer, removed)


def rating(
    title: str,
    value: float | None = None,
    *,
    low: float | str = 1,
    high: float | str = 5,
    history: Sequence[str] = (),
    liked: Sequence[str] = (),
    disliked: Sequence[str] = (),
    profile: str = "",
    category: Sequence[str] = (),
    text: str = "",
    noun: str = "",
    nouns: str = "",
) -> Task:
    """Ask for the rating between `low` and `high` that a user would give an item."""
    lists, removed = _lists_without(title, history=history, liked=liked, disliked=disliked)
    fields = _fields(title=title, low=_number(low), high=_number(high), profile=profile, category=category)
    fields |= _fields(text=text, noun=noun, nouns=nouns)
    return Task("rating", fields | lists, None if value is None else _number(value), removed)


def item_from_description(
    description: str, title: str | None = None, *, category: Sequence[str] = (), noun: str = "", nouns: str = ""
) -> Task:
    """Ask which item a text describes; the title is masked in the text."""
    masked, count = (description, 0) if title is None else mask_title(description, title)
    fields = _fields(description=masked, category=category, noun=noun, nouns=nouns)
    return Task("item_from_description", fields, title, count)


def description_from_item(
    title: str,
    description: str | None = None,
    *,
    category: Sequence[str] = (),
    year: str | int = "",
    noun: str = "",
    nouns: str = "",
) -> Task:
    """Ask for a description of an item; a year that the title already names is not said twice."""
    said = "" if str(year) in title else str(year)
    fields = _fields(title=title, category=category, year=said, noun=noun, nouns=nouns)
    return Task("description_from_item", fields, description)


def profile(
    history: Sequence[str],
    summary: str | None = None,
    *,
    attributes: str = "",
    liked: Sequence[str] = (),
    disliked: Sequence[str] = (),
    noun: str = "",
    nouns: str = "",
) -> Task:
    """Ask for a summary of a user's taste."""
    fields = _fields(history=history, attributes=attributes, liked=liked, disliked=disliked, noun=noun, nouns=nouns)
    return Task("profile", fields, summary)


def review_rating(
    review: str,
    value: float | None = None,
    *,
    low: float | str = 1,
    high: float | str = 5,
    title: str = "",
    noun: str = "",
    nouns: str = "",
) -> Task:
    """Ask for the rating between `low` and `high` that a review came with."""
    fields = _fields(review=review, low=_number(low), high=_number(high), title=title, noun=noun, nouns=nouns)
    return Task("review_rating", fields, None if value is None else _number(value))


def item_tokens(
    *,
    wish: str | Sequence[str] = "",
    avoid: str | Sequence[str] = "",
    profile: str = "",
    noun: str = "",
    nouns: str = "",
    target: str | None = None,
) -> Task:
    """Word what a user says and is, for the reading whose history goes to the decoder as item vectors.

    `target`, a title, only serves the leak check; the example's target text stays empty.
    """
    return Task("item_tokens", _fields(wish=wish, avoid=avoid, profile=profile, noun=noun, nouns=nouns), target)


def _lists_without(title: str, **lists: Sequence[str]) -> tuple[dict[str, Value], int]:
    kept: dict[str, Value] = {}
    removed = 0
    for name, titles in lists.items():
        rest, count = without_target(titles, title, exact=True)
        removed += count
        if rest:
            kept[name] = rest
    return kept, removed
