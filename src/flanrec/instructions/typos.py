"""Mistyped words, as hurried fingers write them."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np

from flanrec.instructions.text import unspaced

_SHORTEST = 4
"""Letters of a word that may be mistyped: ``yes``, ``no`` and ``not`` stay."""
_WORD = re.compile(r"[^\W\d_]+")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def _neighbours() -> dict[str, str]:
    """The keys that touch each letter's on an English keyboard, whose rows are half a key apart."""
    found = {letter: set[str]() for row in _ROWS for letter in row}
    for row in _ROWS:
        for left, right in pairwise(row):
            found[left].add(right)
            found[right].add(left)
    for above, below in pairwise(_ROWS):
        for at, letter in enumerate(below):
            for other in above[at : at + 2]:
                found[letter].add(other)
                found[other].add(letter)
    return {letter: "".join(sorted(keys)) for letter, keys in found.items()}


_KEYS = _neighbours()


def with_typos(text: str, rng: np.random.Generator, rate: float) -> str:
    """Mistype words of at least four letters, each with a probability of `rate`.

    A mistyped word has one mistake behind its first letter: a neighbouring key, two letters swapped, one left out, or
    one doubled. Numbers, marks, spaces, and scripts without spaces between words stay as they are.

    Examples
    --------
    >>> with_typos("Recommend the next movie (1995), please.", np.random.default_rng(3), 1.0)
    'Redommend the nexf movei (1995), pleae.'
    """

    def mistyped(match: re.Match[str]) -> str:
        word = match.group()
        if len(word) < _SHORTEST or not word.isalpha() or any(map(unspaced, word)) or rng.random() >= rate:
            return word
        return _mistyped(word, rng)

    return _WORD.sub(mistyped, text) if rate > 0 else text


def _mistyped(word: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(1, len(word)))
    letter = word[at]
    kind = int(rng.integers(4))
    keys = _KEYS.get(letter.lower(), "")
    if kind == 0 and keys:
        key = keys[int(rng.integers(len(keys)))]
        return word[:at] + (key.upper() if letter.isupper() else key) + word[at + 1 :]
    if kind == 1 and at + 1 < len(word) and word[at + 1] != letter:
        return word[:at] + word[at + 1] + letter + word[at + 2 :]
    return word[:at] + word[at + 1 :] if kind == 2 else word[:at] + letter + word[at:]
