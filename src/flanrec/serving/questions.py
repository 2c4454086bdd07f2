"""What the service is asked, and the answers: many at once, in the one thread that runs the model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.people import Person
from flanrec.errors import FlanrecError
from flanrec.explanation import Explanation
from flanrec.ranking.policy import Policy
from flanrec.recommender.answering import Reading
from flanrec.recommender.asking import NOTHING, Asking
from flanrec.serving.lists import Filters, Listed, Wanted, explain_items, make_lists
from flanrec.serving.live import Live
from flanrec.serving.models import Models
from flanrec.serving.people import Met, newcomer, stored_person
from flanrec.serving.settings import ServeSettings
from flanrec.serving.store import Store
from flanrec.serving.store.events import Window
from flanrec.serving.store.store import Known

logger = logging.getLogger(__name__)

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Who:
    """For whom.

    Attributes
    ----------
    user_id
        A user of the store; one who is not there has no history. None for none.
    history
        Instead: item ids or titles, oldest first.
    attributes
        Of one who is not stored.
    """

    user_id: str | None = None
    history: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ListQuestion:
    """Recommend to somebody, or rank what is given for them.

    Attributes
    ----------
    who, k, reading, seen, policy, sources, reasons
        As of `Wanted`.
    asking
        What was said.
    columns, years
        As of `Filters`.
    only, without
        Item ids.
    every
        Whether all of `only` come, also what the user does not want.
    """

    model: str
    who: Who
    k: int
    asking: Asking = NOTHING
    reading: Reading = "fused"
    seen: bool = False
    columns: tuple[tuple[str, tuple[str, ...]], ...] = ()
    years: tuple[int | None, int | None] = (None, None)
    only: tuple[str, ...] | None = None
    every: bool = False
    without: tuple[str, ...] = ()
    policy: Policy | None = None
    sources: bool = False
    reasons: int = 0


@dataclass(frozen=True)
class MatchQuestion:
    """How probable it is that somebody likes items."""

    model: str
    who: Who
    items: tuple[str, ...]


@dataclass(frozen=True)
class ExplainQuestion:
    """What speaks for an item."""

    model: str
    who: Who
    item: str
    wish: str = ""


@dataclass(frozen=True)
class SimilarQuestion:
    """Which items are like one.

    Attributes
    ----------
    by
        ``content``: what they say of themselves; ``behaviour``: what people take who took this one.
    """

    model: str
    item: str
    k: int
    by: Literal["content", "behaviour"] = "content"


@dataclass(frozen=True)
class PersonQuestion:
    """How a model meets somebody: the history that it goes by, and the instructions that it reads."""

    model: str
    who: Who
    asking: Asking = NOTHING


Question = ListQuestion | MatchQuestion | ExplainQuestion | SimilarQuestion | PersonQuestion


@dataclass(frozen=True, eq=False)
class Answer:
    """An answer, and which model gave it.

    Attributes
    ----------
    live
        The model as it was.
    events
        Length of the history that it rests on.
    listed
        For lists.
    probabilities
        For matches, in the order of the items.
    explanation
        For explanations.
    met, instructions
        For people: as the model meets them, and by reading what it is told.
    """

    live: Live
    events: int = 0
    listed: Listed | None = None
    probabilities: tuple[float, ...] = ()
    explanation: Explanation | None = None
    met: Met | None = None
    instructions: Mapping[str, str] = field(default_factory=dict)


class Answerer:
    """Answers questions.

    Parameters
    ----------
    models
        Which are served.
    store
        Where users are looked up, once for all that are asked for together.
    """

    def __init__(self, models: Models, store: Store, settings: ServeSettings) -> None:
        self._models = models
        self._store = store
        self._settings = settings

    def answer(self, questions: Sequence[Question]) -> list[Answer | Exception]:
        """Answer some questions; an exception stands in the place of an answer that cannot be given."""
        users = [
            question.who.user_id
            for question in questions
            if not isinstance(question, SimilarQuestion) and question.who.user_id is not None
        ]
        known = self._known(users)
        answers: list[Answer | Exception] = [ValueError("not answered")] * len(questions)
        wanted: list[tuple[int, Wanted]] = []
        for at, question in enumerate(questions):
            try:
                live = self._models.current(question.model, known.revision)
                if isinstance(question, ListQuestion):
                    wanted.append((at, self._wanted(question, live, known)))
                else:
                    answers[at] = self._other(question, live, known)
            except FlanrecError as problem:
                answers[at] = problem
            except Exception as problem:
                logger.exception("a question could not be answered")
                answers[at] = problem
        lists = make_lists([one for _, one in wanted])
        for (at, one), listed in zip(wanted, lists, strict=True):
            events = len(one.person.items)
            answers[at] = listed if isinstance(listed, Exception) else Answer(one.live, events, listed)
        return answers

    def _known(self, users: Sequence[str]) -> Known:
        learning = self._settings.learning
        return self._store.known(users, Window(self._settings.limits.history, learning.unwanted, learning.ignored))

    def _wanted(self, question: ListQuestion, live: Live, known: Known) -> Wanted:
        person, unwanted, earlier = self._met(question.who, live, known)
        only = None if question.only is None else tuple(live.place(item) for item in question.only)
        without = {live.places[item] for item in question.without if item in live.places} | set(unwanted.tolist())
        if not question.seen:
            without |= set(earlier.tolist())
        if question.every:
            without -= set(only or ())
        if question.policy is not None:
            question.policy.check(live.recommender.parts.item_facts)
        return Wanted(
            live, person, question.asking, question.k, question.reading, question.seen,
            Filters(question.columns, question.years, only), np.array(sorted(without), dtype=np.int64), question.policy,
            question.sources, question.reasons,
        )  # fmt: skip

    def _other(
        self, question: MatchQuestion | ExplainQuestion | SimilarQuestion | PersonQuestion, live: Live, known: Known
    ) -> Answer:
        if isinstance(question, SimilarQuestion):
            return Answer(live, listed=similar(live, live.place(question.item), question.k, question.by))
        met = self._met(question.who, live, known)
        person, events = met.person, len(met.person.items)
        if isinstance(question, PersonQuestion):
            told = live.recommender.instructions(person, question.asking)
            return Answer(live, events, met=met, instructions=told)
        if isinstance(question, MatchQuestion):
            items = [live.place(item) for item in question.items]
            chances = live.recommender.match_reading.probabilities([person] * len(items), items)
            return Answer(live, events, probabilities=tuple(map(float, chances)))
        why = explain_items(live, person, [live.find(question.item)], question.wish, met.unwanted)
        return Answer(live, events, explanation=why[0])

    def _met(self, who: Who, live: Live, known: Known) -> Met:
        if who.user_id is None:
            return Met(newcomer(live, who.history, who.attributes))
        attributes = {**known.attributes[who.user_id], **who.attributes}
        learning, most = self._settings.learning, self._settings.limits.history
        return stored_person(live, who.user_id, known.pasts[who.user_id], attributes, learning, most)


def similar(live: Live, item: int, k: int, by: str) -> Listed:
    """The items that are most like one, it left out."""
    if by == "behaviour":
        alone = Wanted(live, Person.new([item]), NOTHING, k)
        found = make_lists([alone])[0]
        if isinstance(found, Exception):
            raise found
        return found
    vectors = live.recommender.parts.unit_texts
    scores = vectors @ vectors[item]
    scores[item] = -np.inf
    scores[live.closed] = -np.inf
    best = np.argsort(-scores, kind="stable")[:k]
    best = best[np.isfinite(scores[best])]
    return Listed(best.astype(np.int64), scores[best].astype(np.float32), "content", used=("content",))
