"""The quality of each task family on held-out events, with seen and with held-out templates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from flanrec.catalogue.prompter import Prompter
from flanrec.data import Dataset
from flanrec.errors import DataError, TemplateError
from flanrec.evaluation.families import answers, texts, titles
from flanrec.evaluation.families.asked import HeldOut, Metric, Trial
from flanrec.evaluation.models import drawn_users, in_catalogue
from flanrec.instructions import Templates
from flanrec.metrics import Interval, bootstrap_interval
from flanrec.metrics.intervals import bootstrap_statistic
from flanrec.metrics.lists import FloatArray
from flanrec.metrics.probability import auc
from flanrec.recommender import Recommender, RecommenderSettings

FAMILIES: dict[str, Callable[[HeldOut], Trial | None]] = {
    "sequential": titles.next_item,
    "wish": titles.wish,
    "match": answers.match,
    "pick": answers.pick,
    "rating": answers.rating,
    "profile": texts.profile,
    "item_from_description": titles.item_from_description,
    "description_from_item": texts.description_from_item,
    "review_rating": answers.review_rating,
}
MEANING: dict[Metric, str] = {
    "NDCG@10": "of the titles that are generated; without reading: a random order",
    "AUC": "of the log odds of yes with those of the like rates; without reading: the like rates alone",
    "accuracy": "how often the right candidate is the likeliest; without reading: one of the candidates",
    "MAE": "distance of the likeliest rating from the true one, lower is better; without reading: the median rating",
    "token F1": "of the words of the answer; without reading: the answer to another question",
}


@dataclass(frozen=True)
class FamilyScore:
    """How well one family goes.

    Attributes
    ----------
    questions
        How many were asked.
    weight
        How often it had its turn in tuning, as the settings say; 0 makes it a family that tuning never saw.
    unseen
        Whether tuning never saw it.
    seen, held_out
        The metric with templates that tuning draws from, or would draw from, and with those it never sees; the latter
        None where no such template words the family.
    difference
        Of held-out templates to seen ones on the same questions.
    chance
        The metric of who does not read: see `MEANING`.
    """

    family: str
    metric: Metric
    questions: int
    weight: float
    unseen: bool
    seen: Interval
    held_out: Interval | None
    difference: Interval | None
    chance: float


@dataclass(frozen=True)
class FamilyReport:
    """The scores of all families that there were questions for.

    Attributes
    ----------
    unasked
        Families without questions: nothing is reviewed, described or rated, or all that was rated was liked.
    """

    users: int
    scores: tuple[FamilyScore, ...]
    unasked: tuple[str, ...]
    seed: int

    def __getitem__(self, family: str) -> FamilyScore:
        """The score of a family, by its name."""
        return next(score for score in self.scores if score.family == family)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        definitions = {score.metric: MEANING[score.metric] for score in self.scores}
        return {**asdict(self), "scores": [asdict(score) for score in self.scores], "definitions": definitions}

    def to_table(self) -> Table:
        """For a terminal."""
        below = [f"{name}: {MEANING[name]}" for name in dict.fromkeys(score.metric for score in self.scores)]
        if any(score.unseen for score in self.scores):
            below.append("unseen: tuning had no question of the family")
        if self.unasked:
            below.append(f"no questions of {', '.join(self.unasked)} in the test")
        below.append(f"intervals: 95 % bootstrap over users or items, seed {self.seed}")
        table = Table(
            title=f"Task families on held-out events ({self.users} users)", caption=escape("\n".join(below)),
            caption_justify="left",
        )  # fmt: skip
        for name in ("family", "tuned on", "metric"):
            table.add_column(name, no_wrap=True)
        for name in ("questions", "without reading", "seen templates", "held-out templates", "difference"):
            table.add_column(name, justify="right", no_wrap=True)
        for score in self.scores:
            table.add_row(
                score.family, "unseen" if score.unseen else f"{score.weight:g}", score.metric, str(score.questions),
                f"{score.chance:.4f}", _text(score.seen), _text(score.held_out), _text(score.difference, "+"),
            )  # fmt: skip
        return table


def measure_families(
    recommender: Recommender,
    test: Dataset,
    *,
    users: int | None = None,
    seed: int = 42,
    progress: Callable[[int], None] | None = None,
) -> FamilyReport:
    """Ask the tuned T5 the questions of every task family about held-out events.

    Facts are the same under seen and under held-out templates. Reviews and descriptions are those that the recommender
    knows: tuning has seen these texts. Answers in free words come from the T5 itself, whatever the engine.

    Parameters
    ----------
    test
        Held-out interactions of items that the recommender knows; each user's first event is what is asked about.
    users
        Most users to ask, drawn by `seed`; all by default.
    progress
        Called with 1 whenever a family is done.

    Raises
    ------
    DataError
        No user of the test has a history.
    NotFoundError
        The test has items that are not in the catalogue.
    """
    asked = held_out(recommender, test, users, seed)
    prompter = recommender.parts.prompter
    other = replace(prompter, templates=(turned(prompter.templates[0]), *prompter.templates[1:]))
    scores = []
    for make in FAMILIES.values():
        trial = make(asked)
        if trial is not None and len(trial.owners):
            scores.append(_score(trial, prompter, other, recommender, seed))
        if progress is not None:
            progress(1)
    scored = {score.family for score in scores}
    unasked = tuple(family for family in FAMILIES if family not in scored)
    return FamilyReport(len(asked.people), tuple(scores), unasked, seed)


def turned(templates: Templates) -> Templates:
    """The templates of a language, held-out ones in place of those for tuning and the other way round."""
    return Templates(
        templates.language,
        tuple(replace(one, held_out=not one.held_out) for one in templates.templates),
        templates.wording,
    )


def never_tuned(settings: RecommenderSettings, family: str) -> bool:
    """Whether tuning had no question of a family; of a log before this one it is taken to have been tuned alike."""
    return not settings.t5_is_tuned or not getattr(settings.words.weights, family)


def held_out(recommender: Recommender, test: Dataset, users: int | None, seed: int) -> HeldOut:
    """The users of a test who have a history, some of them, with what they did next; see `measure_families`."""
    test = in_catalogue(recommender, test)
    ids = drawn_users(test, users, seed)
    events, people = test.sequences(ids), recommender.people(ids)
    kept = [row for row in range(len(ids)) if len(people[row].items)]
    if not kept:
        raise DataError("no user of the test has a history in the model; test with users it was trained on")
    first = events.offsets[:-1][kept]
    return HeldOut(
        recommender, [people[row] for row in kept], events.items[first], events.ratings[first].astype(np.float32), seed
    )


def _score(trial: Trial, prompter: Prompter, other: Prompter, recommender: Recommender, seed: int) -> FamilyScore:
    settings = recommender.settings
    values = trial.ask(prompter)
    try:
        others = trial.ask(other)
    except TemplateError:
        others = None
    return FamilyScore(
        trial.family,
        trial.metric,
        len(trial.owners),
        float(getattr(settings.words.weights, trial.family)),
        never_tuned(settings, trial.family),
        _interval(trial, values, seed),
        None if others is None else _interval(trial, others, seed),
        None if others is None else _interval(trial, others, seed, values),
        trial.chance,
    )


def _interval(trial: Trial, values: FloatArray, seed: int, less: FloatArray | None = None) -> Interval:
    """The metric of some answers, or how much more it is than that of others to the same questions."""
    if trial.labels is None:
        return bootstrap_interval(values if less is None else values - less, seed)
    labels = trial.labels

    def statistic(rows: np.ndarray[Any, np.dtype[np.int64]]) -> float:
        found = auc(labels[rows], values[rows])
        return found if less is None else found - auc(labels[rows], less[rows])

    return bootstrap_statistic(statistic, trial.owners, seed)


def _text(interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return "-"
    return f"{interval.value:{sign}.4f} ({interval.low:{sign}.4f} – {interval.high:{sign}.4f})"
