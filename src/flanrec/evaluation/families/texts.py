"""Families whose answers are free words: how many of them are the right ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.prompter import Prompter
from flanrec.evaluation.families.asked import HeldOut, LastEvents, Trial, described
from flanrec.generation.answers import free_answers
from flanrec.instructions.profiles import taste_summary
from flanrec.metrics.lists import FloatArray
from flanrec.tuning.objectives.answers import Question
from flanrec.tuning.text_questions import text_from_item

_WORD = re.compile(r"[\u3400-\u9fff]|\w+")


def profile(asked: HeldOut) -> Trial:
    """The summary of each user's taste, where the history has one."""
    prompter = asked.recommender.parts.prompter
    wording = prompter.templates[0].wording
    summed = [bool(taste_summary(wording, prompter.profile(one))) for one in asked.people]
    rows = np.flatnonzero(np.array(summed, dtype=bool))
    return _texts(asked, "profile", rows, lambda some: LastEvents(asked, some).each(asked, "profile", rows))


def description_from_item(asked: HeldOut) -> Trial:
    """What the texts of the held-out items say."""
    items = described(asked, text_from_item)

    def questions(prompter: Prompter) -> list[Question]:
        worded = [prompter.word(text_from_item(prompter, item), asked.rng(item)) for item in items.tolist()]
        return [Question(one.prompt, (one.target,), (1.0,)) for one in worded]

    return _texts(asked, "description_from_item", items, questions)


def _texts(
    asked: HeldOut, family: str, rows: NDArray[np.int64], questions: Callable[[Prompter], list[Question]]
) -> Trial:
    """A family whose answers are free words: token F1."""
    targets = [one.answers[0] for one in questions(asked.recommender.parts.prompter)]

    def ask(prompter: Prompter) -> FloatArray:
        prompts = [one.prompt for one in questions(prompter)]
        return _overlaps(free_answers(asked.recommender.backbone, prompts, rows=asked.rows), targets)

    chance = float(_overlaps(targets[1:] + targets[:1], targets).mean()) if targets else 0.0
    return Trial(family, "token F1", ask, chance, rows)


def _overlaps(said: Sequence[str], targets: Sequence[str]) -> FloatArray:
    return np.array([token_f1(one, target) for one, target in zip(said, targets, strict=True)], dtype=np.float64)


def token_f1(said: str, target: str) -> float:
    """The F1 of the words that two texts share, each as often as it stands in both; Chinese is read by character.

    References
    ----------
    Rajpurkar et al., "SQuAD: 100,000+ questions for machine comprehension of text", 2016, section 6.1.

    Examples
    --------
    >>> token_f1("likes quiet comedy", "Likes comedy and drama")
    0.5714285714285714
    >>> token_f1("", "drama"), token_f1("Drama!", "drama")
    (0.0, 1.0)
    """
    one, other = Counter(_words(said)), Counter(_words(target))
    shared = (one & other).total()
    return 2 * shared / (one.total() + other.total()) if shared else 0.0


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
