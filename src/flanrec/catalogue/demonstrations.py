"""Demonstrations: what other users did, as solved examples before a question (few-shot prompts)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.people import People, Person
from flanrec.catalogue.prompter import Prompter
from flanrec.errors import SettingsError, TemplateError
from flanrec.instructions import Example, Task
from flanrec.instructions.shots import after_examples, solved
from flanrec.instructions.text import occurs

_FEWEST_TOKENS = 24
"""A question with its answer in fewer tokens says nothing."""
_FRAME_TOKENS = 8
"""What stands around the question itself."""
_TRIES = 20


@dataclass(frozen=True)
class Demonstrations:
    """Puts solved examples of other users before a question.

    One order of all users is drawn by the seed, and of each user one event: everybody is shown the first examples of
    that order that are usable for them, so that an answer does not depend on who is asked beside. Passed over are the
    one who is asked, users with nothing to show, examples whose answer stands among their own facts, and those that
    name the answer of the question where it is known. Attributes and reviews of the others are never told.

    Parameters
    ----------
    people
        Whose events the examples are of.
    prompter
        Words them as it words questions, in its first language.
    max_tokens
        Longest prompt, examples included. They share evenly what a longest question leaves; long histories lose their
        oldest titles first.
    seed
        Of the draws.
    """

    people: People
    prompter: Prompter
    max_tokens: int = 384
    seed: int = 42

    def before(self, question: str, task: Task, person: Person, shots: int) -> str:
        """A question after solved examples.

        Parameters
        ----------
        question
            The task in words.
        task
            What is asked; where it has its target, no example names that.
        person
            Who is asked.
        shots
            Most examples; there are fewer where too few users have something to show.

        Raises
        ------
        SettingsError
            There is no room for so many.
        TemplateError
            The language has no words for solved examples.
        """
        wording = self.prompter.templates[0].wording
        texts = [solved(wording, example) for example in self.examples(task, person, shots)]
        while texts and self.prompter.count_tokens(after_examples(wording, texts, question)) > self.max_tokens:
            texts = texts[1:]
        return after_examples(wording, texts, question)

    def examples(self, task: Task, person: Person, shots: int) -> list[Example]:
        """The solved examples for a person; for match a yes and a no by turns, a yes first."""
        if shots < 1:
            return []
        share = (self.max_tokens - self.prompter.max_tokens - _FRAME_TOKENS) // shots
        if share < _FEWEST_TOKENS:
            raise SettingsError(
                f"{shots} solved examples get {max(share, 0)} tokens each, and need {_FEWEST_TOKENS}: a prompt has "
                f"{self.max_tokens} (shot_tokens), of which the question may take {self.prompter.max_tokens} "
                "(max_tokens); ask for fewer examples, allow more tokens, or shorten the question"
            )
        found: list[Example] = []
        for at in self._order[: _TRIES * shots]:
            if len(found) == shots:
                break
            other = self.people.find([self.people.log.user_ids[at]])[0]
            if same_user(person, other):
                continue
            example = self._usable(task, other, int(at), share, liked=len(found) % 2 == 0)
            if example is not None:
                found.append(example)
        return found

    def _usable(self, task: Task, other: Person, at: int, share: int, *, liked: bool) -> Example | None:
        """The first example of another user that fits, is short enough and gives nothing away."""
        wording = self.prompter.templates[0].wording
        other = replace(other, attributes={}, reviews=())
        for one in self._tasks(task.family, other, np.random.default_rng([self.seed, at]), liked):
            try:
                example = self.prompter.word(one, max_tokens=share)
                over = self.prompter.count_tokens(solved(wording, example)) - share
                if over > 0:
                    example = self.prompter.word(one, max_tokens=share - over)
            except TemplateError:  # a leak, or too long whatever is cut
                continue
            shown = f"{example.prompt} {example.target}"
            if not task.target or task.family == "match" or not occurs(task.target, shown):
                return example
        return None

    def _tasks(self, family: str, other: Person, rng: np.random.Generator, liked: bool) -> Iterator[Task]:
        """Questions of the family about a user's later events, each with its answer, in a drawn order."""
        catalogue = self.prompter.catalogue
        for end in (1 + rng.permutation(max(len(other.items) - 1, 0)))[:_TRIES].tolist():
            known, item = other.before(end), int(other.items[end])
            if family == "match":
                if self._rated:
                    if bool(other.ratings[end] >= self.prompter.liked_rating) != liked or np.isnan(other.ratings[end]):
                        continue
                elif not liked:
                    item = int(rng.integers(len(catalogue)))
                    if item in other.items:
                        continue
                task = self.prompter.match(known, item, liked)
                # What their taste sums up to is said by the likes beside it, which there is little room for as it is.
                yield replace(task, fields={name: said for name, said in task.fields.items() if name != "profile"})
            elif family == "wish":
                if catalogue.categories[item]:
                    wished = self.prompter.wish_words(str(rng.choice(catalogue.categories[item])))
                    yield self.prompter.sequential(known, item, wish=wished, told=False)
            else:
                yield self.prompter.sequential(known, item, told=False)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.random.default_rng(self.seed).permutation(len(self.people.log))

    @cached_property
    def _rated(self) -> bool:
        return not bool(np.isnan(self.people.log.ratings).all())


def same_user(asked: Person, other: Person) -> bool:
    """Whether two are the same: by their ids, or, where one has none, if either history is part of the other."""
    if asked.user_id is not None and other.user_id is not None:
        return str(asked.user_id) == str(other.user_id)
    ours, theirs = set(asked.items.tolist()), set(other.items.tolist())
    return bool(ours and theirs) and (ours <= theirs or theirs <= ours)
