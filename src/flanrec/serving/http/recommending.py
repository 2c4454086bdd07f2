"""A list for one request: by the model it names, or as the experiment that runs deals them."""

from __future__ import annotations

from dataclasses import replace

from flanrec.serving.experiments import MIXED, team_draft
from flanrec.serving.http.schemas import ListAnswer, ModelVersion, Recommend
from flanrec.serving.http.wording import list_body
from flanrec.serving.questions import ListQuestion
from flanrec.serving.service import Service


async def recommended(
    service: Service, asked: Recommend, question: ListQuestion, request_id: str, seconds: float | None
) -> ListAnswer:
    """A list, remembered as one that was shown.

    Raises
    ------
    Busy, Late, Closed, FlanrecError
        As `Service.ask`.
    """
    experiment = service.settings.experiment
    if experiment.kind == "interleave" and not asked.model:
        return await _interleaved(service, asked, question, request_id, seconds)
    arm = ""
    if experiment.kind == "split" and not asked.model:
        arm = experiment.model_of(asked.user_id or request_id)
        question = replace(question, model=arm)
    answer = await service.ask(question, seconds)
    body = list_body(answer, request_id, asked.user_id, asked.sources)
    shown(service, body, arm)
    return body


def shown(service: Service, body: ListAnswer, arm: str = "") -> None:
    """Remember a list as one that was shown."""
    items = [item.item_id for item in body.items]
    service.remember(body.request_id, body.user_id, body.model.version, items, arm, body.fallback or "")


async def _interleaved(
    service: Service, asked: Recommend, question: ListQuestion, request_id: str, seconds: float | None
) -> ListAnswer:
    names = service.settings.experiment.models
    bodies = []
    for answer in await service.ask_many([replace(question, model=name) for name in names], seconds):
        if isinstance(answer, Exception):
            raise answer
        bodies.append(list_body(answer, request_id, asked.user_id, asked.sources))
    first, second = bodies
    drafted = team_draft(
        [item.item_id for item in first.items], [item.item_id for item in second.items], asked.k, request_id
    )
    known = {
        "a": {item.item_id: item for item in first.items}, "b": {item.item_id: item for item in second.items}
    }  # fmt: skip
    items = [known[team][item].model_copy(update={"rank": rank}) for rank, (item, team) in enumerate(drafted, start=1)]
    model = ModelVersion(name="+".join(names), version=f"{first.model.version}+{second.model.version}")
    body = first.model_copy(
        update={
            "model": model,
            "items": items,
            "sources": list(dict.fromkeys([*first.sources, *second.sources])),
            "fallback": first.fallback or second.fallback,
        }
    )
    shown(service, body, MIXED + "".join(team for _, team in drafted))
    return body
