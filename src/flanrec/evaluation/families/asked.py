"""Who is asked about each task family, and what a trial of one is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flanrec.backbone.vocabulary import used_rows
from flanrec.catalogue.people import Person
from flanrec.catalogue.prompter import Prompter
from flanrec.instructions import LeakError, Task
from flanrec.metrics.lists import FloatArray
from flanrec.recommender import Recommender
from flanrec.tuning.objectives.answers import Question
from flanrec.tuning.questions import Questions
from flanrec.tuning.wordings import texts_in_use

Metric = Literal["NDCG@10", "AUC", "accuracy", "MAE", "token F1"]


@dataclass(frozen=True)
class Trial:
    """A family's questions, in any wording, and the value of each answer.

    Attributes
    ----------
    ask
        From whoever words them, the value of the answer to each question: float64 [n], the log odds of yes for AUC.
        The facts are the same whoever words them.
    chance
        The metric of who does not read: a random order or candidate, the median rating, the like rates alone, or the
        answer to another question.
    owners
        int64 [n], who each question is about; intervals draw them.
    labels
        bool [n], what was liked; for AUC only.
    """

    family: str
    metric: Metric
    ask: Callable[[Prompter], FloatArray]
    chance: float
    owners: NDArray[np.int64]
    labels: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Who is asked: what a recommender knows of users, and what they did next.

    Attributes
    ----------
    people
        As the recommender knows them, each with a history.
    items, ratings
        int64 and float32 [n], the first held-out event of each; nan where it has no rating.
    seed
        Decides facts and templates.
    """

    recommender: Recommender
    people: list[Person]
    items: NDArray[np.int64]
    ratings: NDArray[np.float32]
    seed: int

    def rng(self, number: int) -> np.random.Generator:
        """Draws the facts and the template of a question."""
        return np.random.default_rng([self.seed, number])

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The vocabulary rows among which the T5 was tuned to choose."""
        parts = self.recommender.parts
        persons = parts.people.find(parts.people.log.user_ids)
        texts = texts_in_use(parts.prompter, parts.facets, parts.dataset, persons)
        return used_rows(self.recommender.backbone.tokenizer, texts)


class LastEvents(Questions):
    """The questions of tuning, about the held-out event of one user after another."""

    def __init__(self, asked: HeldOut, prompter: Prompter) -> None:
        parts = asked.recommender.parts
        told = [
            replace(one, items=np.append(one.items, item), ratings=np.append(one.ratings, rating).astype(np.float32),
                    times=None, reviews=(*one.reviews, "") if one.reviews else ())
            for one, item, rating in zip(asked.people, asked.items, asked.ratings, strict=True)
        ]  # fmt: skip
        last = [np.array([len(one.items) - 1]) for one in told]
        super().__init__(told, prompter, parts.facets, parts.rates, places=last)
        self.turn = 0

    def moment(self, rng: np.random.Generator, *, rated: bool = False) -> tuple[Person, int]:
        """The user whose turn it is."""
        return self.users[self.turn], len(self.users[self.turn].items) - 1

    def each(self, asked: HeldOut, family: str, rows: NDArray[np.int64]) -> list[Question]:
        """The question of each user."""
        found = []
        for row in rows.tolist():
            self.turn = row
            found.append(getattr(self, family)(asked.rng(row)))
        return found


def described(asked: HeldOut, task_of: Callable[[Prompter, int], Task]) -> NDArray[np.int64]:
    """The held-out items that have a text of which the family can ask."""
    prompter = asked.recommender.parts.prompter
    kept = []
    for item in np.unique(asked.items).tolist():
        if not prompter.catalogue.texts[item]:
            continue
        try:
            prompter.word(task_of(prompter, item))
        except LeakError:
            continue
        kept.append(item)
    return np.array(kept, dtype=np.int64)
