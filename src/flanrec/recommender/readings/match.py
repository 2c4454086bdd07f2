"""The match reading: how probable it is that a user likes an item."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.demonstrations import Demonstrations
from flanrec.catalogue.like_rates import LikeRates
from flanrec.catalogue.people import Person
from flanrec.catalogue.prompter import Prompter
from flanrec.generation import first_token_ids
from flanrec.generation.engines import Engine
from flanrec.recommender.asking import NOTHING, Asking
from flanrec.recommender.calibration import Calibration


class MatchReading:
    """Says how probable it is that a user likes an item.

    Parameters
    ----------
    demonstrations, shots
        What gives solved examples, and how many stand before each question.
    """

    def __init__(
        self,
        engine: Engine,
        prompter: Prompter,
        rates: LikeRates,
        calibration: Calibration,
        demonstrations: Demonstrations | None = None,
        shots: int = 0,
    ) -> None:
        self.engine = engine
        self.prompter = prompter
        self.rates = rates
        self.calibration = calibration
        self.demonstrations = demonstrations
        self.shots = shots
        words = prompter.templates[0].wording.words
        self.yes_ids = first_token_ids(engine.tokenizer, [words["yes"]])
        self.no_ids = first_token_ids(engine.tokenizer, [words["no"]])

    def prompts(self, users: Sequence[Person], items: Sequence[int], asking: Asking = NOTHING) -> list[str]:
        """The question about each pair, worded as is asked, after solved examples where some are asked for."""
        words = []
        for at, (user, item) in enumerate(zip(users, items, strict=True)):
            task = self.prompter.match(user, int(item))
            question = asking.worded_by(self.prompter, task, at)
            if self.shots and self.demonstrations is not None:
                question = self.demonstrations.before(question, task, user, self.shots)
            words.append(question)
        return words

    def odds(
        self,
        users: Sequence[Person],
        items: Sequence[int],
        progress: Callable[[int], None] | None = None,
        asking: Asking = NOTHING,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Log odds of yes by the like rates, and by the words: float64 [n] each.

        Where words weigh nothing the T5 is not asked, and theirs are zero.
        """
        likes = np.array([self._likes(user) for user in users], dtype=np.float64).reshape(-1, 2)
        rule = self.rates.log_odds(np.asarray(items, dtype=np.int64), likes[:, 0], likes[:, 1])
        if not self.calibration.words:
            if progress is not None:
                progress(len(users))
            return rule, np.zeros(len(users))
        words = self.engine.yes_no_logits(
            self.prompts(users, items, asking), None, self.yes_ids, self.no_ids, progress=progress
        )
        return rule, words.astype(np.float64)

    def probabilities(
        self, users: Sequence[Person], items: Sequence[int], progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float64]:
        """Calibrated probability of yes: float64 [n]."""
        return self.calibration.probabilities(*self.odds(users, items, progress))

    def _likes(self, user: Person) -> tuple[int, int]:
        rated = user.ratings[~np.isnan(user.ratings)]
        return int((rated >= self.prompter.liked_rating).sum()), len(rated)
