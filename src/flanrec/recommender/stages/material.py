"""What the stages of a fit share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flanrec.candidates.blend import Blend
from flanrec.catalogue.facets import Facets
from flanrec.catalogue.like_rates import LikeRates
from flanrec.catalogue.people import Person, people
from flanrec.catalogue.prompter import Prompter
from flanrec.data import Dataset
from flanrec.metrics import UserItems, ndcg
from flanrec.recommender.settings import RecommenderSettings, TeacherName
from flanrec.tuning.callbacks import Callback
from flanrec.tuning.examples import Examples
from flanrec.tuning.teaching import Teacher
from flanrec.tuning.tutoring import Tutor

Callbacks = Callable[[str], Sequence[Callback]]
"""From the name of a stage, who is told of its progress."""


@dataclass(frozen=True)
class Material:
    """What the stages share: the people of the training log, their validation events, and the wording.

    Attributes
    ----------
    train
        The log that is learnt from.
    users
        Its users, those without events left out.
    asked
        Validation users as they were before their validation events.
    answers
        The items of those events, a row a user.
    answer_ratings
        float32, the rating of each user's first validation event, nan where there is none.
    examples
        Instructions of the caller's own.
    tutor
        The larger T5 that this one is distilled from.
    """

    train: Dataset
    users: list[Person]
    asked: list[Person]
    answers: UserItems
    answer_ratings: NDArray[np.float32]
    prompter: Prompter
    facets: Facets
    rates: LikeRates
    settings: RecommenderSettings
    identity: dict[str, str]
    examples: Examples | None = None
    tutor: Tutor | None = None

    @classmethod
    def gather(
        cls,
        train: Dataset,
        validation: Dataset,
        prompter: Prompter,
        settings: RecommenderSettings,
        identity: dict[str, str],
        examples: Examples | None = None,
    ) -> Material:
        """Collect the material of a fit."""
        ids = validation.interactions["user_id"].unique(maintain_order=True).to_list()
        if len(ids) > settings.validation_users:
            rng = np.random.default_rng(settings.seed)
            ids = [ids[at] for at in np.sort(rng.choice(len(ids), settings.validation_users, replace=False))]
        later = validation.sequences(ids)
        rows = [later.of(row) for row in range(len(ids))]
        return cls(
            train=train,
            users=[user for user in people(train) if len(user.items)],
            asked=people(train, ids),
            answers=UserItems.from_lists([row.tolist() for row in rows]),
            answer_ratings=later.ratings[later.offsets[:-1]] if len(ids) else np.zeros(0, dtype=np.float32),
            prompter=prompter,
            facets=Facets.of(prompter.catalogue),
            rates=LikeRates.of(train.sequences(), settings.liked_rating),
            settings=settings,
            identity={**identity, "data": train.fingerprint()}
            | ({} if examples is None else {"examples": examples.digest()}),
            examples=examples,
        )

    def ranking(self, items: NDArray[np.int64], rows: slice | NDArray[np.int64] = slice(None)) -> float:
        """Mean NDCG@10 of ranked items int64[n, 10] for the validation users of the given rows."""
        chosen = np.arange(len(self.asked))[rows]
        lists = [self.answers.items[self.answers.offsets[row] : self.answers.offsets[row + 1]].tolist()
                 for row in chosen]  # fmt: skip
        return float(np.nanmean(ndcg(items, UserItems.from_lists(lists), 10))) if len(chosen) else float("nan")

    @property
    def histories(self) -> list[NDArray[np.int64]]:
        """What the validation users had done before their validation events: catalogue indices, oldest first."""
        return [user.items for user in self.asked]

    @cached_property
    def first_answers(self) -> NDArray[np.int64]:
        """The item of each user's first validation event: int64 [n_users]."""
        return self.answers.items[self.answers.offsets[:-1]]

    def teacher(self, name: TeacherName) -> Teacher | None:
        """The closed-form blend of the training log, its weights fitted on the validation events; None for "none"."""
        if name == "none" or not self.users:
            return None
        blend = Blend().fit(self.train.sequences())
        return blend.tuned(self.histories, self.first_answers, self.settings.seed).scores
