"""Answers of the service as bodies."""

from __future__ import annotations

from flanrec.explanation import Explanation
from flanrec.explanation.occlusion import Reason as Event
from flanrec.serving.http.schemas import (
    ExplainAnswer,
    ListAnswer,
    ListedItem,
    MatchAnswer,
    MatchedItem,
    ModelVersion,
    Reason,
    Reasons,
)
from flanrec.serving.live import Live
from flanrec.serving.questions import Answer


def version_of(live: Live) -> ModelVersion:
    """Which model."""
    return ModelVersion(name=live.name, version=live.version)


def list_body(answer: Answer, request_id: str, user_id: str | None, told: bool) -> ListAnswer:
    """A list.

    Parameters
    ----------
    told
        Whether it was asked what every source gave.
    """
    live, listed = answer.live, answer.listed
    assert listed is not None
    titles = live.recommender.parts.catalogue.titles
    items = []
    for row, (item, score) in enumerate(zip(listed.items.tolist(), listed.scores.tolist(), strict=True)):
        gave = {name: float(values[row]) for name, values in listed.sources.items()} if told else None
        why = _reasons(listed.reasons[row]) if row < len(listed.reasons) else None
        items.append(
            ListedItem(item_id=live.ids[item], title=titles[item], score=score, rank=row + 1, sources=gave, reasons=why)
        )
    return ListAnswer(
        request_id=request_id, model=version_of(live), user_id=user_id, basis=listed.basis, sources=list(listed.used),
        fallback=listed.fallback or None, items=items,
    )  # fmt: skip


def match_body(answer: Answer, request_id: str, user_id: str | None, items: list[str]) -> MatchAnswer:
    """Probabilities."""
    matched = [
        MatchedItem(item_id=item, probability=chance) for item, chance in zip(items, answer.probabilities, strict=True)
    ]
    return MatchAnswer(request_id=request_id, model=version_of(answer.live), user_id=user_id, items=matched)


def explain_body(answer: Answer, request_id: str, user_id: str | None) -> ExplainAnswer:
    """What speaks for an item."""
    told = answer.explanation
    assert told is not None
    return ExplainAnswer(
        request_id=request_id, model=version_of(answer.live), user_id=user_id, item_id=str(told.item_id),
        title=told.title, text=told.to_text(), rank=told.rank, seen=told.seen,
        reasons=[_reason(one) for one in told.reasons], against=None if told.against is None else _reason(told.against),
        wish_effect=told.wish_effect, prompt=told.prompt,
    )  # fmt: skip


def _reason(event: Event) -> Reason:
    return Reason(item_id=str(event.item_id), title=event.title, effect=event.effect, shared=list(event.shared))


def _reasons(told: Explanation) -> Reasons:
    shared = dict.fromkeys(name for reason in told.reasons for name in reason.shared)
    return Reasons(text=told.to_text(), because=[reason.title for reason in told.reasons], shared=list(shared))
