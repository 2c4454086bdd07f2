"""Variations of histories and wordings, for tuning that shall not hang on either.

What may vary in a prompt, and how:

* its fixed words, and what items are called: by synonyms, typos and back-translation;
* a wish and an aversion: by synonyms and typos;
* the titles of a history: by typos, and only where that is asked for.

All else stays as it is: the title that is asked about, candidates, categories, numbers, texts and profiles, and the
answer, whose title is the key to an item. Everything follows from the generator that is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from flanrec.instructions.families import HISTORY_FIELDS
from flanrec.instructions.synonyms import Synonyms
from flanrec.instructions.tasks import Task, Value
from flanrec.instructions.template import Template
from flanrec.instructions.text import unspaced
from flanrec.instructions.typos import with_typos

_WISHES = ("wish", "avoid")
_PARAPHRASED = 0.5
"""How often a stretch of words that has a paraphrase is replaced by it."""

Ints = NDArray[np.int64]


def crop(count: int, rng: np.random.Generator, share: float = 0.6) -> Ints:
    """Positions of a stretch of a history: so large a share of it, at least one event, beginning anywhere.

    References
    ----------
    Here, in `mask` and in `reorder`: Xie et al., "Contrastive learning for sequential recommendation" (CL4SRec), 2021,
    with the shares of its experiments.

    Examples
    --------
    >>> items = np.array([4, 8, 15, 16, 23])
    >>> items[crop(5, np.random.default_rng(1))].tolist()
    [8, 15, 16]
    """
    length = min(count, max(1, int(share * count)))
    first = int(rng.integers(count - length + 1))
    return np.arange(first, first + length)


def mask(count: int, rng: np.random.Generator, share: float = 0.3) -> Ints:
    """Positions of the events that stay when so large a share of a history is left out, at least one, in their order.

    In words there is nothing to put in the place of an event that is not told.
    """
    hidden = min(int(share * count), max(count - 1, 0))
    return np.sort(rng.permutation(count)[hidden:])


def reorder(count: int, rng: np.random.Generator, share: float = 0.6) -> Ints:
    """All positions of a history, those of a stretch of so large a share in an order drawn at random."""
    positions = np.arange(count)
    inside = crop(count, rng, share) if count else positions
    positions[inside] = rng.permutation(inside)
    return positions


@dataclass(frozen=True)
class WordingChanges:
    """Changes the words of a template and of what it is filled with; see the module for which.

    Attributes
    ----------
    synonyms
        Probability that a word or phrase with synonyms becomes another one.
    typos
        Probability that a word of the instruction or of a wish is mistyped.
    title_typos
        The same for the titles of histories.
    tables
        Synonyms by language.
    paraphrases
        Other wordings of stretches of fixed words, as `flanrec.instructions.Templates.remarks` returns these.
    """

    synonyms: float = 0.0
    typos: float = 0.0
    title_typos: float = 0.0
    tables: Mapping[str, Synonyms] = field(default_factory=dict)
    paraphrases: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, template: Template, task: Task, rng: np.random.Generator) -> tuple[Template, Task]:
        """Vary a template and a task of its family."""

        def instruction(text: str) -> str:
            if text in self.paraphrases and rng.random() < _PARAPHRASED:
                text = self.paraphrases[text]
            return self._worded(text, template.language, rng)

        nouns = template.wording.noun_fields(task)
        fields: dict[str, Value] = dict(task.fields)
        for name in _WISHES:
            if name in fields:
                fields[name] = _each(fields[name], lambda text: self._worded(text, template.language, rng))
        if self.title_typos:
            for name in sorted(HISTORY_FIELDS & fields.keys()):
                fields[name] = _each(fields[name], lambda text: with_typos(text, rng, self.title_typos))
        return (
            replace(template, prompt=template.prompt.reworded(nouns, instruction)),
            replace(task, fields=fields),
        )

    def _worded(self, text: str, language: str, rng: np.random.Generator) -> str:
        if self.synonyms and language in self.tables:
            text = self.tables[language].swapped(text, rng, self.synonyms)
        return with_typos(text, rng, self.typos) if self.typos else text

    def texts(self) -> list[str]:
        """What prompts may say by it beside their usual words, typos left out."""
        return [text for table in self.tables.values() for text in table.others] + list(self.paraphrases.values())


def is_sentence(text: str) -> bool:
    """Tell whether a stretch of fixed words is a sentence, or a heading with its colon, rather than a part of one.

    Examples
    --------
    >>> is_sentence("Which one is next?"), is_sentence(", which belongs to"), is_sentence("请推荐一个电影。")
    (True, False, True)
    """
    return bool(text) and (text[0].isupper() or unspaced(text[0])) and text[-1] in ".?!:。？！："


def usable_paraphrases(texts: Sequence[str], paraphrases: Sequence[str]) -> dict[str, str]:
    """Paraphrases that say something else at about the same length, by what they paraphrase.

    Examples
    --------
    >>> usable_paraphrases(["Which one is next?", "Yes or no?"], ["What comes then?", "Yes or no?"])
    {'Which one is next?': 'What comes then?'}
    """
    return {
        text: other
        for text, other in zip(texts, paraphrases, strict=True)
        if other.casefold() != text.casefold() and len(text) <= 2 * len(other) and len(other) <= 2 * len(text)
    }


def _each(value: Value, change: Callable[[str], str]) -> Value:
    return change(value) if isinstance(value, str) else [change(text) for text in value]
