"""Every text that a tuning run can read or say, as far as it can be told beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from flanrec.catalogue.facets import Facets
from flanrec.catalogue.people import Person
from flanrec.catalogue.prompter import Prompter
from flanrec.data.dataset import Dataset
from flanrec.instructions import Templates
from flanrec.instructions.markup import Markup
from flanrec.instructions.profiles import IDENTIFYING
from flanrec.instructions.text import ELLIPSIS, sanitise

_VALUE = "\ue000"


def texts_in_use(prompter: Prompter, facets: Facets, train: Dataset, users: Sequence[Person]) -> list[str]:
    """Return the texts of a run, each also as it meets the marks that templates put around it.

    A tokenizer may read ``Drama.`` or ``"Heat`` with other pieces than the word alone. What is seldom and left
    out, such as a word that is cut, is no loss: whatever uses these texts has to bear others.

    Parameters
    ----------
    prompter
        For the catalogue, and the templates of all languages.
    facets
        What a wish may name.
    train
        For its reviews.
    users
        For their attributes and ratings.

    Returns
    -------
    list of str
    """
    facts = list(dict.fromkeys(sanitise(text) for text in _facts(prompter, facets, train, users)))
    marks, said = set(), list(dict.fromkeys([prompter.noun, prompter.nouns]))
    for templates in prompter.templates:
        words = templates.wording.words
        nouns = {"noun": prompter.noun or words["noun"], "nouns": prompter.nouns or prompter.noun or words["nouns"]}
        said += words.values()
        for markup in _markups(templates):
            for filled in _fillings(markup, nouns):
                said.append(filled.replace(_VALUE, " "))
                marks |= set(_marks(filled))
        marks |= {("", join.split(" ")[0]) for join in templates.wording.joins.values()}
    first = {text.split()[0] for text in facts if text}
    last = {text.split()[-1] for text in facts if text}
    both = {text for text in facts if " " not in text}
    left, right = ({mark[side] for mark in marks} for side in (0, 1))
    glued = {before + word for before in left for word in first}
    glued |= {word + after for after in right for word in (*last, ELLIPSIS)}
    glued |= {before + word + after for before, after in marks for word in both}
    return [*facts, *said, *sorted(glued)]


def _facts(prompter: Prompter, facets: Facets, train: Dataset, users: Sequence[Person]) -> Iterator[str]:
    """What fills the fields of templates."""
    catalogue = prompter.catalogue
    yield from catalogue.titles
    yield from catalogue.texts
    for names in (*catalogue.categories, facets.names):
        for name in names:
            yield from (name, name.casefold())
    for user in users:
        yield from (f"{name} {value}" for name, value in user.attributes.items() if name.casefold() not in IDENTIFYING)
    ratings = [user.ratings for user in users]
    if train.reviews is not None:
        yield from train.reviews["text"].drop_nulls()
        if "rating" in train.reviews.columns:
            ratings.append(train.reviews["rating"].drop_nulls().cast(float).to_numpy())
    known = np.unique(np.concatenate(ratings)) if ratings else np.zeros(0)
    yield from (f"{rating:g}" for rating in known[~np.isnan(known)])


def _markups(templates: Templates) -> Iterator[Markup]:
    yield from templates.wording.phrases.values()
    for template in templates.templates:
        yield from (template.prompt, template.prefix)


def _fillings(markup: Markup, nouns: dict[str, str]) -> Iterator[str]:
    """A text with all its fields, with none but the needed ones, and with each of the others by itself."""
    needed = markup.required
    for chosen in (markup.fields, needed, *(needed | {name} for name in markup.fields - needed)):
        yield markup.fill({name: nouns.get(name, _VALUE) for name in chosen} | nouns)


def _marks(filled: str) -> Iterator[tuple[str, str]]:
    """What stands before and after each value without a space between."""
    pieces = filled.split(_VALUE)
    for before, after in pairwise(pieces):
        yield before.split(" ")[-1], after.split(" ")[0]
