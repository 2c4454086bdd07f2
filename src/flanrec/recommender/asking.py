"""What a request says beside the user's history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flanrec.catalogue.prompter import Prompter
from flanrec.instructions import Task


@dataclass(frozen=True)
class Asking:
    """What a request says beside the user's history.

    Attributes
    ----------
    wish, avoid
        Plain words; "" for none.
    told
        Tell the item tokens attributes and older tastes of a user with events too. On validation events of
        MovieLens-100K that cost 0.005 of NDCG@10: the events say it better. Untold, all users share one wording, which
        is encoded once.
    held_out
        Word the instruction by a template that tuning did not see.
    seed
        Draw the template of each user by this seed; None takes the first that fits.
    rewrite
        Changes each instruction before the model reads it; for tests of what the words do.
    shots
        Solved examples of other users before the question where titles are spelled; None for as many as the settings
        say.
    """

    wish: str = ""
    avoid: str = ""
    told: bool = False
    held_out: bool = False
    seed: int | None = None
    rewrite: Callable[[str], str] | None = None
    shots: int | None = None

    @property
    def worded(self) -> bool:
        """Whether something is wanted or not wanted."""
        return self.wish != "" or self.avoid != ""

    @property
    def plain(self) -> Asking:
        """The same request without a wish or an aversion."""
        return replace(self, wish="", avoid="")

    def worded_by(self, prompter: Prompter, task: Task, number: int) -> str:
        """The instruction of a task as the model reads it; `number` tells users of one seed apart."""
        rng = None if self.seed is None else np.random.default_rng([self.seed, number])
        prompt = prompter.word(task, rng, held_out=self.held_out).prompt
        return self.rewrite(prompt) if self.rewrite else prompt


NOTHING = Asking()


def each_asking(asking: Asking | Sequence[Asking], count: int) -> Sequence[Asking]:
    """What each of several users asks."""
    return [asking] * count if isinstance(asking, Asking) else asking
