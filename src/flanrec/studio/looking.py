"""Lists that somebody looks at: asked as others are, and not kept or counted as shown to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from flanrec.serving.http.routes.questions import list_question
from flanrec.serving.http.schemas import Recommend
from flanrec.serving.lists import Listed
from flanrec.serving.live import Live
from flanrec.serving.questions import Answer, PersonQuestion
from flanrec.serving.service import Service
from flanrec.studio.somebody import Somebody

LENGTH = 10
"""Items of a list."""
REASONS = 10


@dataclass(frozen=True)
class Dials:
    """What is said and set beside the person.

    Attributes
    ----------
    model
        Name; "" for the default one.
    wish, avoid, diversity, long_tail, reading
        As fields of `flanrec.serving.http.schemas.Recommend`.
    """

    model: str = ""
    wish: str = ""
    avoid: str = ""
    diversity: float = 0.0
    long_tail: float = 0.0
    reading: str = "fused"


@dataclass(frozen=True, eq=False)
class Look:
    """A list, and the person as the model met them.

    Attributes
    ----------
    answer
        The list.
    person
        Their history, and what the model read.
    dials
        As they stood.
    """

    answer: Answer
    person: Answer
    dials: Dials

    @property
    def live(self) -> Live:
        """The model that answered."""
        return self.answer.live

    @property
    def listed(self) -> Listed:
        """The list."""
        assert self.answer.listed is not None
        return self.answer.listed


async def look(service: Service, somebody: Somebody, dials: Dials, *, reasons: int = REASONS) -> Look:
    """What somebody would get.

    Raises
    ------
    Busy, Late, Closed, FlanrecError
        As `Service.ask`.
    pydantic.ValidationError
        Something is not as it has to be.
    """
    return (await looks(service, somebody, [dials], reasons=reasons))[0]


async def looks(service: Service, somebody: Somebody, settings: list[Dials], *, reasons: int = 0) -> list[Look]:
    """What somebody would get under several settings, all as of one moment; see `look`."""
    limits = service.settings.limits
    asked = [Recommend.model_validate(_body(somebody, dials, min(LENGTH, limits.k), reasons)) for dials in settings]
    lists = [list_question(one, limits) for one in asked]
    people = [PersonQuestion(one.model, one.who, one.asking) for one in lists]
    answers = []
    for answer in await service.ask_many([*lists, *people], counted=False):
        if isinstance(answer, Exception):
            raise answer
        answers.append(answer)
    found = zip(answers[: len(lists)], answers[len(lists) :], settings, strict=True)
    return [Look(answer, person, dials) for answer, person, dials in found]


def rates_of(live: Live, most: int = 7) -> list[float]:
    """The ratings that people give, lowest first; none where the log has no ratings.

    Where there are many, as many steps from the lowest to the highest.
    """
    log = live.recommender.parts.dataset.interactions
    if "rating" not in log.columns:
        return []
    found = log["rating"].drop_nulls().unique().sort().to_list()
    return found if len(found) <= most else [round(one, 2) for one in np.linspace(found[0], found[-1], 5).tolist()]


def _body(somebody: Somebody, dials: Dials, k: int, reasons: int) -> dict[str, Any]:
    return {
        **somebody.asked, "model": dials.model or None, "k": k, "wish": dials.wish.strip(),
        "avoid": dials.avoid.strip(), "diversity": dials.diversity, "long_tail": dials.long_tail,
        "reading": dials.reading, "sources": dials.reading == "fused", "explain": reasons,
    }  # fmt: skip
