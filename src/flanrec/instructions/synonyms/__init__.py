"""Words that may stand for each other, from a file a language and a user's own files."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np

from flanrec.errors import TemplateError
from flanrec.instructions.text import unspaced


@dataclass(frozen=True)
class Synonyms:
    """For each word or phrase, in lower case, what may stand in its place.

    Examples
    --------
    >>> table = Synonyms.load("en")
    >>> "suggest" in table.others["recommend"]
    True
    """

    language: str
    others: Mapping[str, tuple[str, ...]]

    @classmethod
    def load(cls, language: str, extra: Iterable[Path | str] = ()) -> Synonyms:
        """Read the package's groups of a language, if it has any, and add those of a user's files.

        A file holds ``language = "en"`` and ``groups = [["film", "movie"], ...]``; files of other languages are passed
        over. A word that stands in several groups may become any word of them.

        Raises
        ------
        TemplateError
            A file is missing or is not like that; the message names it and what to change.
        """
        own = resources.files("flanrec.instructions.synonyms") / f"{language}.toml"
        files: list[Path | Traversable] = [own] if own.is_file() else []
        files += map(Path, extra)
        groups = [group for file in files for group in _groups(file, language)]
        found: dict[str, dict[str, None]] = {}
        for group in groups:
            for word in group:
                others = (other for other in group if other.casefold() != word.casefold())
                found.setdefault(word.casefold(), {}).update(dict.fromkeys(others))
        return cls(language, {word: tuple(others) for word, others in found.items()})

    def swapped(self, text: str, rng: np.random.Generator, rate: float) -> str:
        """The text with some words or phrases replaced, each with a probability of `rate`; a first capital stays.

        Of phrases within each other the longest counts.
        """

        def other(match: re.Match[str]) -> str:
            word = match.group()
            if rng.random() >= rate:
                return word
            # The pattern takes letters for the same that casefold tells apart, such as i with and without a dot.
            choices = self.others.get(word.casefold(), ())
            if not choices:
                return word
            chosen = choices[int(rng.integers(len(choices)))]
            return chosen[0].upper() + chosen[1:] if word[0].isupper() else chosen

        return self._pattern.sub(other, text) if self.others and rate > 0 else text

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.others, key=lambda word: (-len(word), word))
        return re.compile("|".join(map(_as_words, longest_first)), re.IGNORECASE)


def _as_words(phrase: str) -> str:
    """A pattern that finds a phrase as whole words; in scripts without spaces, anywhere."""
    left = "" if unspaced(phrase[0]) else r"(?<!\w)"
    right = "" if unspaced(phrase[-1]) else r"(?!\w)"
    return left + re.escape(phrase) + right


def _groups(file: Path | Traversable, language: str) -> list[list[str]]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise TemplateError(
            f"{file}: cannot be read as TOML ({problem}); give a file with language and groups"
        ) from problem
    groups = table.get("groups")
    whole = isinstance(groups, list) and all(
        isinstance(group, list)
        and all(isinstance(word, str) and word.strip() for word in group)
        and len({word.strip().casefold() for word in group}) > 1
        for group in groups
    )
    if not isinstance(table.get("language"), str) or not whole or set(table) - {"language", "groups"}:
        raise TemplateError(
            f'{file}: a file of synonyms holds language = "en" and groups = [["film", "movie"], ...], each group with '
            "two different words or more, and nothing else"
        )
    assert isinstance(groups, list)
    return [[word.strip() for word in group] for group in groups] if table["language"] == language else []
