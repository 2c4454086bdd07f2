"""The small language of templates: ``{field}`` and optional fragments ``[[ ... {field} ... ]]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

_MARKS = re.compile(r"\[\[|\]\]|\{\{|\}\}|\{([a-z][a-z0-9_]*)\}|[{}]")
_SPACES = re.compile(r"\s+")


class MarkupError(ValueError):
    """Raised when a template's text cannot be parsed; the loader adds file and template id."""


@dataclass(frozen=True)
class Field:
    """The place of a field's value."""

    name: str


@dataclass(frozen=True)
class Fragment:
    """A part that is dropped as a whole when a field directly inside it is missing or empty."""

    parts: tuple[Part, ...]

    @cached_property
    def fields(self) -> frozenset[str]:
        """Fields directly inside, those of nested fragments left out."""
        return frozenset(part.name for part in self.parts if isinstance(part, Field))


Part = str | Field | Fragment


@dataclass(frozen=True)
class Markup:
    """A parsed template text.

    Examples
    --------
    >>> markup = Markup.parse("Recommend one {noun}[[ for a wish: {wish}[[, never {avoid}]]]].")
    >>> markup.fill({"noun": "film", "wish": "comedy"})
    'Recommend one film for a wish: comedy.'
    >>> markup.fill({"noun": "film", "avoid": "war"})
    'Recommend one film.'
    """

    source: str
    root: Fragment

    def literals(self, known: Mapping[str, str], without: Collection[str] = ()) -> list[str]:
        """The stretches of plain text between fields.

        Parameters
        ----------
        known
            Fields that count as text, with their values.
        without
            Fragments with one of these fields are passed over.

        Examples
        --------
        >>> Markup.parse("{history}. Which {noun} is next?[[ Wish: {wish}.]]").literals({"noun": "film"}, ["wish"])
        ['. Which film is next?']
        """
        found = [""]

        def walk(fragment: Fragment) -> None:
            for part in fragment.parts:
                if isinstance(part, Fragment):
                    found.append("")
                    if not part.fields & set(without):
                        walk(part)
                    found.append("")
                elif isinstance(part, Field):
                    if part.name in known:
                        found[-1] += known[part.name]
                    else:
                        found.append("")
                else:
                    found[-1] += part

        walk(self.root)
        return [text.strip() for text in found if text.strip()]

    def reworded(self, known: Mapping[str, str], change: Callable[[str], str]) -> Markup:
        """The text with its stretches between fields changed, the white space around each kept.

        Parameters
        ----------
        known
            Fields that become part of the stretches, with their values.
        change
            From a stretch as `literals` tells it to another one.

        Examples
        --------
        >>> markup = Markup.parse("{history}. Which {noun} is next?[[ Wish: {wish}.]]")
        >>> markup.reworded({"noun": "film"}, str.upper).fill({"history": "Heat", "wish": "drama"})
        'Heat. WHICH FILM IS NEXT? WISH: drama.'
        """

        def of(fragment: Fragment) -> Fragment:
            parts: list[Part] = []
            stretch = ""
            for part in (*fragment.parts, None):
                if isinstance(part, str):
                    stretch += part
                elif isinstance(part, Field) and part.name in known:
                    stretch += known[part.name]
                else:
                    said = stretch.strip()
                    parts += [stretch.replace(said, change(said), 1) if said else stretch] * bool(stretch)
                    stretch = ""
                    parts += [] if part is None else [of(part) if isinstance(part, Fragment) else part]
            return Fragment(tuple(parts))

        return Markup(self.source, of(self.root))

    @classmethod
    def parse(cls, source: str) -> Markup:
        """Parse a text.

        Raises
        ------
        MarkupError
            On an unclosed or unopened fragment, a lone brace, or a fragment without any field.
        """
        open_fragments: list[list[Part]] = [[]]
        position = 0
        for match in _MARKS.finditer(source):
            if match.start() > position:
                open_fragments[-1].append(source[position : match.start()])
            position = match.end()
            mark = match.group()
            if match.group(1):
                open_fragments[-1].append(Field(match.group(1)))
            elif mark == "[[":
                open_fragments.append([])
            elif mark == "]]":
                _close(open_fragments, source, match.start())
            elif mark in ("{{", "}}"):
                open_fragments[-1].append(mark[0])
            else:
                raise MarkupError(
                    f"a lone '{mark}' at character {match.start() + 1}; a field is written {{lower_case}}, "
                    f"a literal brace is doubled"
                )
        if position < len(source):
            open_fragments[-1].append(source[position:])
        if len(open_fragments) > 1:
            raise MarkupError("a fragment opened with '[[' is never closed; add ']]'")
        return cls(source, Fragment(tuple(open_fragments[0])))

    @cached_property
    def required(self) -> frozenset[str]:
        """Fields without which the text cannot be filled."""
        return self.root.fields

    @cached_property
    def fields(self) -> frozenset[str]:
        """All fields the text names, optional ones included."""
        return frozenset(_names(self.root))

    def carried(self, present: Collection[str]) -> frozenset[str]:
        """Return the fields whose values would stand in the text if just these were given."""
        return frozenset(_carried(self.root, present))

    def fill(self, values: Mapping[str, str]) -> str:
        """Put values in their places, drop the fragments that lack one, and collapse whitespace.

        Raises
        ------
        KeyError
            When a required field has no value or an empty one.
        """
        for name in self.root.fields:
            if not values.get(name):
                raise KeyError(name)
        return _SPACES.sub(" ", "".join(_pieces(self.root, values))).strip()


def _close(open_fragments: list[list[Part]], source: str, position: int) -> None:
    if len(open_fragments) == 1:
        raise MarkupError(f"']]' at character {position + 1} closes nothing; remove it or add '[['")
    fragment = Fragment(tuple(open_fragments.pop()))
    if not fragment.fields:
        raise MarkupError(f"the fragment that ends at character {position + 1} has no field of its own, so it is fixed")
    open_fragments[-1].append(fragment)


def _names(fragment: Fragment) -> Iterator[str]:
    yield from fragment.fields
    for part in fragment.parts:
        if isinstance(part, Fragment):
            yield from _names(part)


def _carried(fragment: Fragment, present: Collection[str]) -> Iterator[str]:
    if all(name in present for name in fragment.fields):
        yield from fragment.fields
        for part in fragment.parts:
            if isinstance(part, Fragment):
                yield from _carried(part, present)


def _pieces(fragment: Fragment, values: Mapping[str, str]) -> Iterator[str]:
    for part in fragment.parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Field):
            yield values[part.name]
        elif all(values.get(name) for name in part.fields):
            yield from _pieces(part, values)
