"""The prompter: users, wishes and items of one catalogue in words, the same in tuning and in use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from flanrec.catalogue.items import Catalogue
from flanrec.catalogue.people import Person
from flanrec.data.profiles import LIKED_RATING, ItemFacts, Profile, profile_of
from flanrec.errors import SettingsError
from flanrec.instructions import Example, Task, Templates, profile_text, render, tasks
from flanrec.instructions.augment import WordingChanges
from flanrec.instructions.profiles import without_answer

_TASTES = 3
"""How many liked, and how many disliked, categories a profile names."""


@dataclass(frozen=True)
class Prompter:
    """Words tasks for the users of one catalogue.

    Attributes
    ----------
    catalogue
        Whose titles and categories are used.
    templates
        One entry a language; tuning draws among them, use takes the first.
    count_tokens
        Length of a text in the backbone's tokens.
    noun, nouns
        What one item and several are called; the language's own words if empty.
    max_tokens
        Longest prompt.
    titles
        Most titles of a history that a prompt shows.
    liked_rating
        The least rating that means a like.
    changes
        Varies drawn templates and what fills them, for tuning; see `flanrec.instructions.augment`.
    """

    catalogue: Catalogue
    templates: tuple[Templates, ...]
    count_tokens: Callable[[str], int]
    noun: str = ""
    nouns: str = ""
    max_tokens: int = 128
    titles: int = 10
    liked_rating: float = LIKED_RATING
    changes: WordingChanges | None = None

    def __post_init__(self) -> None:
        if not self.templates:
            raise SettingsError("there are no templates; load those of one language at least")
        if self.titles < 1:
            raise SettingsError(f"titles is {self.titles}: a prompt shows one title of a history at least")

    @cached_property
    def facts(self) -> ItemFacts:
        """Titles and categories by catalogue index."""
        return ItemFacts(self.catalogue.titles, [list(names) for names in self.catalogue.categories])

    def profile(self, person: Person) -> Profile:
        """The structured profile of a user from the events given."""
        return profile_of(
            person.items, person.ratings, self.facts, person.attributes, self.liked_rating, person.reviews
        )

    def item_tokens(
        self,
        person: Person,
        window: int,
        *,
        wish: str | Sequence[str] = "",
        avoid: str | Sequence[str] = "",
        told: bool = True,
        language: int = 0,
    ) -> Task:
        """The instruction beside item vectors; the profile covers only events before the newest `window`.

        The decoder reads the newest events themselves, and in tuning they are answers too. Beside a wish or
        an aversion the profile tells attributes alone: what a user usually likes, in the same words as what
        is wanted now, would only drown it.
        """
        known = person.before(max(0, len(person.items) - window))
        tastes = 0 if wish or avoid else _TASTES
        profile = self._profile_words(replace(known, reviews=()), language, tastes) if told else ""
        return tasks.item_tokens(wish=wish, avoid=avoid, profile=profile, noun=self.noun, nouns=self.nouns)

    def sequential(
        self,
        person: Person,
        target: int | None = None,
        *,
        wish: str | Sequence[str] = "",
        avoid: str | Sequence[str] = "",
        told: bool = True,
        language: int = 0,
    ) -> Task:
        """The next item in words: after a history, and for a wish where there is one."""
        history = [self.catalogue.titles[item] for item in person.items[-self.titles :]]
        title = None if target is None else self.catalogue.titles[target]
        profile = self._profile_words(person, language, unless=title or "") if told or not history else ""
        if wish or not history:
            about = wish or self.noun or self.templates[language].wording.words["noun"]
            return tasks.wish(
                about, title, avoid=avoid, history=history, profile=profile, noun=self.noun, nouns=self.nouns
            )
        return tasks.sequential(history, title, profile=profile, noun=self.noun, nouns=self.nouns)

    def match(self, person: Person, item: int, liked_it: bool | None = None, *, language: int = 0) -> Task:
        """Whether a user would like an item; likes and dislikes are told apart where there are ratings."""
        newest = [*zip(person.items.tolist(), person.ratings.tolist(), strict=True)][-2 * self.titles :]
        titles = self.catalogue.titles
        liked = [titles[seen] for seen, rating in newest if rating >= self.liked_rating][-self.titles :]
        disliked = [titles[seen] for seen, rating in newest if rating < self.liked_rating][-self.titles // 2 :]
        unrated = [titles[seen] for seen, rating in newest if rating != rating][-self.titles :]
        return tasks.match(
            titles[item],
            liked_it,
            history=unrated,
            liked=liked,
            disliked=disliked,
            profile=self._profile_words(person, language),
            category=self.catalogue.categories[item],
            noun=self.noun,
            nouns=self.nouns,
        )

    def word(
        self,
        task: Task,
        rng: np.random.Generator | None = None,
        *,
        held_out: bool = False,
        language: int = 0,
        max_tokens: int | None = None,
    ) -> Example:
        """Render a task: by a template drawn with `rng`, or by the first that fits; `max_tokens` or the prompter's."""
        templates = self.templates[language]
        if rng is None:
            template = templates.suitable(task, held_out)[0]
        else:
            template = templates.choose(task.family, rng, held_out, task)
            if self.changes is not None:
                render(template, task)  # a leak is one in the words as they are, too
                template, task = self.changes(template, task, rng)
        limit = self.max_tokens if max_tokens is None else max_tokens
        return render(template, task, count_tokens=self.count_tokens, max_tokens=limit)

    def remark(self, rng: np.random.Generator, *, language: int = 0) -> str:
        """Words of some other instruction, which ask for nothing here."""
        said = self._remarks[language]
        return said[int(rng.integers(len(said)))] if said else ""

    @cached_property
    def _remarks(self) -> list[list[str]]:
        return [self.stretches(language) for language in range(len(self.templates))]

    def stretches(self, language: int) -> list[str]:
        """What the templates of a language say beside their fields; see `Templates.remarks`."""
        templates = self.templates[language]
        words = templates.wording.words
        nouns = {"noun": self.noun or words["noun"], "nouns": self.nouns or self.noun or words["nouns"]}
        return templates.remarks(nouns, letters=12 if templates.language == "en" else 6)

    def wish_words(self, facet: str, rng: np.random.Generator | None = None, *, language: int = 0) -> str:
        """One way to ask for a facet, such as ``comedy`` or ``comedy movies``."""
        wording = self.templates[language].wording
        forms = [phrase for name, phrase in sorted(wording.phrases.items()) if name.startswith("wish_")]
        if rng is None or not forms:
            return facet.casefold()
        nouns = self.nouns or self.noun or wording.words["nouns"]
        chosen = forms[int(rng.integers(len(forms)))]
        return chosen.fill({"facet": facet.casefold() if rng.random() < 0.8 else facet, "nouns": nouns})

    def _profile_words(self, person: Person, language: int, tastes: int = _TASTES, unless: str = "") -> str:
        """A profile in words; a review that names the answer, or of an item that does, is not quoted."""
        if not person.attributes and (not tastes or not len(person.items)):
            return ""
        profile = self.profile(person)
        profile = without_answer(profile, unless) if unless else profile
        return profile_text(self.templates[language].wording, profile, categories=tastes)
