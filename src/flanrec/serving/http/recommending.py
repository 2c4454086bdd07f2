"""Lists for requests: by the model that each names, or as the experiment that runs deals them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from flanrec.serving.experiments import MIXED, team_draft
from flanrec.serving.http.schemas import ListAnswer, ModelVersion, Recommend
from flanrec.serving.http.wording import list_body
from flanrec.serving.questions import Answer, ListQuestion
from flanrec.serving.service import Service
from flanrec.serving.store.records import Shown


@dataclass(frozen=True)
class Ordered:
    """A list that a request wants.

    Attributes
    ----------
    asked
        The request.
    question
        What it asks of the service.
    request_id
        Of its list.
    """

    asked: Recommend
    question: ListQuestion
    request_id: str


async def recommended(
    service: Service, ordered: Sequence[Ordered], seconds: float | None
) -> list[ListAnswer | Exception]:
    """Lists, each remembered as one that was shown; an exception in the place of one that cannot be made.

    Raises
    ------
    Busy, Late, Closed
        As `Service.ask_many`.
    """
    now = time.time()
    dealt = [_models_for(service, one) for one in ordered]
    questions = [replace(one.question, model=name) for one, names in zip(ordered, dealt, strict=True) for name in names]
    answers = iter(await service.ask_many(questions, seconds))
    return [
        _told(service, one, now, names, [next(answers) for _ in names])
        for one, names in zip(ordered, dealt, strict=True)
    ]


def _models_for(service: Service, one: Ordered) -> tuple[str, ...]:
    if one.asked.model:
        return (one.asked.model,)
    return service.settings.experiment.dealt(one.asked.user_id or one.request_id)


def _told(
    service: Service, one: Ordered, now: float, names: tuple[str, ...], answers: Iterable[Answer | Exception]
) -> ListAnswer | Exception:
    bodies = []
    for answer in answers:
        if isinstance(answer, Exception):
            return answer
        bodies.append(list_body(answer, one.request_id, one.asked.user_id, one.asked.sources))
    if len(bodies) == 1:
        body, arm = bodies[0], "" if one.asked.model else names[0]
    else:
        body, arm = _interleaved(one, *bodies)
    items = [item.item_id for item in body.items]
    service.remember(
        Shown(body.request_id, body.user_id, now, body.model.version, tuple(items), arm, body.fallback or "")
    )
    return body


def _interleaved(one: Ordered, first: ListAnswer, second: ListAnswer) -> tuple[ListAnswer, str]:
    """One list of two, and its arm."""
    drafted = team_draft(
        [item.item_id for item in first.items], [item.item_id for item in second.items], one.asked.k, one.request_id
    )
    known = {
        "a": {item.item_id: item for item in first.items}, "b": {item.item_id: item for item in second.items}
    }  # fmt: skip
    items = [known[team][item].model_copy(update={"rank": rank}) for rank, (item, team) in enumerate(drafted, start=1)]
    both = [first.model, second.model]
    body = first.model_copy(
        update={
            "model": ModelVersion(
                name="+".join(model.name for model in both), version="+".join(model.version for model in both)
            ),
            "items": items,
            "sources": list(dict.fromkeys([*first.sources, *second.sources])),
            "fallback": first.fallback or second.fallback,
        }
    )
    return body, MIXED + "".join(team for _, team in drafted)
