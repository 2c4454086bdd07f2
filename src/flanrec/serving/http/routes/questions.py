"""Recommending, ranking, matching and explaining."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from flanrec.errors import SettingsError
from flanrec.ranking.policy import Policy
from flanrec.ranking.rules import Diversity, LongTail
from flanrec.recommender.asking import Asking
from flanrec.serving.http.asking import request_id_of, said, service_of, short_enough, unless_gone, within
from flanrec.serving.http.fields import ID_LENGTH
from flanrec.serving.http.problems import problem_of
from flanrec.serving.http.recommending import Ordered, recommended
from flanrec.serving.http.schemas import (
    Explain,
    ExplainAnswer,
    For,
    ListAnswer,
    ManyAnswers,
    Match,
    MatchAnswer,
    Rank,
    Recommend,
    RecommendMany,
)
from flanrec.serving.http.wording import explain_body, list_body, match_body, version_of
from flanrec.serving.questions import ExplainQuestion, ListQuestion, MatchQuestion, SimilarQuestion, Who
from flanrec.serving.settings import Limits

router = APIRouter(prefix="/v1", tags=["questions"])

ItemId = Annotated[str, Path(max_length=ID_LENGTH)]


@router.post("/recommend", response_model=ListAnswer)
async def recommend(request: Request, asked: Recommend) -> Response:
    """Recommend items to a user, or to somebody known by a history, attributes and a wish alone."""
    service = service_of(request)
    ordered = Ordered(asked, list_question(asked, service.settings.limits), request_id_of(request))
    answer = (await unless_gone(request, recommended(service, [ordered], _seconds(asked))))[0]
    if isinstance(answer, Exception):
        raise answer
    return said(answer)


@router.post("/recommend/batch", response_model=ManyAnswers)
async def recommend_many(request: Request, asked: RecommendMany) -> Response:
    """Recommend to several at once; where one of them asks what cannot be answered, its place says so.

    The longest of their deadlines is that of all.
    """
    service, request_id = service_of(request), request_id_of(request)
    within("requests", len(asked.requests), service.settings.limits.batch)
    given = [
        _ordered(one, service.settings.limits, f"{request_id}.{number}") for number, one in enumerate(asked.requests)
    ]
    deadlines = [_seconds(one) for one in asked.requests]
    longest = None if None in deadlines else max(filter(None, deadlines))
    ordered = [one for one in given if isinstance(one, Ordered)]
    made = iter(await unless_gone(request, recommended(service, ordered, longest)))
    answers = [next(made) if isinstance(one, Ordered) else one for one in given]
    bodies = [problem_of(answer) if isinstance(answer, Exception) else answer for answer in answers]
    model = version_of(service.models.get())
    return said(ManyAnswers(request_id=request_id, model=model, answers=bodies))


@router.post("/rank", response_model=ListAnswer)
async def rank(request: Request, asked: Rank) -> Response:
    """Rank given items for somebody, the best first."""
    service, request_id = service_of(request), request_id_of(request)
    limits = service.settings.limits
    within("items", len(asked.items), limits.candidates)
    _check_words(limits, wish=asked.wish, avoid=asked.avoid)
    only = tuple(dict.fromkeys(asked.items))
    question = ListQuestion(
        asked.model or "", _who(asked, limits), len(only), Asking(asked.wish, asked.avoid), seen=True, only=only,
        every=True, sources=asked.sources,
    )  # fmt: skip
    answer = await unless_gone(request, service.ask(question, _seconds(asked)))
    return said(list_body(answer, request_id, asked.user_id, asked.sources))


@router.post("/match", response_model=MatchAnswer)
async def match(request: Request, asked: Match) -> Response:
    """Say how probable it is that somebody likes items: calibrated probabilities."""
    service, request_id = service_of(request), request_id_of(request)
    within("items", len(asked.items), service.settings.limits.batch)
    question = MatchQuestion(asked.model or "", _who(asked, service.settings.limits), tuple(asked.items))
    answer = await unless_gone(request, service.match(question, _seconds(asked)))
    return said(match_body(answer, request_id, asked.user_id, asked.items))


@router.post("/explain", response_model=ExplainAnswer)
async def explain(request: Request, asked: Explain) -> Response:
    """Say which events and words speak for an item."""
    service, request_id = service_of(request), request_id_of(request)
    limits = service.settings.limits
    _check_words(limits, item=asked.item, wish=asked.wish)
    question = ExplainQuestion(asked.model or "", _who(asked, limits), asked.item, asked.wish)
    answer = await unless_gone(request, service.ask(question, _seconds(asked)))
    return said(explain_body(answer, request_id, asked.user_id))


@router.get("/items/{item_id:path}/similar", response_model=ListAnswer, tags=["items"])
async def similar(
    request: Request,
    item_id: ItemId,
    k: Annotated[int, Query(ge=1, le=10_000)] = 10,
    by: Literal["content", "behaviour"] = "content",
    model: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Items like one: by what they say of themselves, or by what people take who took it."""
    service, request_id = service_of(request), request_id_of(request)
    within("k", k, service.settings.limits.k)
    answer = await unless_gone(request, service.ask(SimilarQuestion(model, item_id, k, by)))
    return said(list_body(answer, request_id, None, False))


def _ordered(asked: Recommend, limits: Limits, request_id: str) -> Ordered | SettingsError:
    try:
        return Ordered(asked, list_question(asked, limits), request_id)
    except SettingsError as wrong:
        return wrong


def list_question(asked: Recommend, limits: Limits) -> ListQuestion:
    """What a request asks of the service.

    Raises
    ------
    SettingsError
        It has more of something than is let in.
    """
    within("k", asked.k, limits.k)
    within("exclude", len(asked.exclude), limits.candidates)
    within("filters.only", len(asked.filters.only or ()), limits.candidates)
    _check_words(limits, wish=asked.wish, avoid=asked.avoid)
    filters = asked.filters
    for name, values in filters.columns.items():
        within(f"characters of a value of {name}", max(map(len, values)), limits.text)
    return ListQuestion(
        model=asked.model or "",
        who=_who(asked, limits),
        k=asked.k,
        asking=Asking(asked.wish, asked.avoid),
        reading=asked.reading,
        seen=asked.seen,
        columns=tuple((name, tuple(values)) for name, values in sorted(filters.columns.items())),
        years=(filters.from_year, filters.to_year),
        only=None if filters.only is None else tuple(dict.fromkeys(filters.only)),
        without=tuple(asked.exclude),
        policy=_policy(asked),
        sources=asked.sources,
        reasons=min(asked.explain, asked.k),
    )


def _policy(asked: Recommend) -> Policy | None:
    if not asked.diversity and not asked.long_tail:
        return None
    return Policy(
        diversity=Diversity(balance=asked.diversity) if asked.diversity else None,
        long_tail=LongTail(share=asked.long_tail) if asked.long_tail else None,
    )


def _who(asked: For, limits: Limits) -> Who:
    history = asked.history or []
    within("history", len(history), limits.history)
    for entry in history:
        within("characters of an entry of history", len(entry), limits.text)
    short_enough(limits, asked.attributes)
    return Who(asked.user_id, tuple(history), asked.attributes)


def _check_words(limits: Limits, **texts: str) -> None:
    for name, text in texts.items():
        within(f"characters of {name}", len(text), limits.text)


def _seconds(asked: For) -> float | None:
    return None if asked.deadline_ms is None else asked.deadline_ms / 1000
