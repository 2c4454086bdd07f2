"""Errors as answers: application/problem+json (RFC 9457), without what was sent."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from flanrec.errors import CheckpointError, ConflictError, FlanrecError, NotFoundError, StoreError
from flanrec.serving.batching import Busy, Closed, Late
from flanrec.serving.http.addresses import methods_of
from flanrec.serving.http.schemas import Mistake, Problem
from flanrec.serving.logs import REQUEST_ID

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_MOST_MISTAKES = 20


class Gone(Exception):
    """Raised when the client went away before its answer was ready."""


def problem(status: int, detail: str, *, retry: int | None = None, errors: list[Mistake] | None = None) -> Response:
    """An error as an answer.

    Parameters
    ----------
    retry
        Seconds after which to come again.
    """
    title = HTTPStatus(status).phrase
    body = Problem(title=title, status=status, detail=clean(detail), request_id=REQUEST_ID.get(), errors=errors)
    headers = {} if retry is None else {"Retry-After": str(retry)}
    return Response(body.model_dump_json(exclude_none=True), status, headers, MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """An error in the place of one of several answers."""
    status, detail = _told(error)
    return Problem(title=HTTPStatus(status).phrase, status=status, detail=clean(detail), request_id=REQUEST_ID.get())


def clean(text: str) -> str:
    """A message without half characters, which no answer can hold, and of no more than 500 characters."""
    return text.encode("utf-8", "replace").decode()[:500]


def install(app: FastAPI) -> None:
    """Have an application answer with problems."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Gone, _gone)
    for kind in (Busy, Late, Closed, FlanrecError):
        app.add_exception_handler(kind, _known)


def _told(error: Exception) -> tuple[int, str]:
    if isinstance(error, Busy):
        return 429, str(error)
    if isinstance(error, Late):
        return 504, "the answer was not ready before the deadline; nothing more is done for it"
    if isinstance(error, Closed):
        return 503, "the service is ending; ask another one"
    if isinstance(error, StoreError):
        return 503, "the store cannot be used at the moment"
    if isinstance(error, NotFoundError):
        return 404, str(error)
    if isinstance(error, CheckpointError | ConflictError):
        return 409, str(error)
    if isinstance(error, FlanrecError):
        return 422, str(error)
    return 500, "something went wrong here; the log has it under this request's id"


async def _known(_request: Request, error: Exception) -> Response:
    status, detail = _told(error)
    if isinstance(error, StoreError):
        logger.error("%s", error)
    retry = error.seconds if isinstance(error, Busy) else 1 if status == 503 else None
    return problem(status, detail, retry=retry)


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[:_MOST_MISTAKES]
    found = [Mistake(where=clean(".".join(map(str, one["loc"]))), what=clean(one["msg"])) for one in first]
    told = "; ".join(f"{one.where}: {one.what}" for one in found[:3])
    if found[0].where == "body" and not request.headers.get("Content-Type", "").startswith("application/json"):
        told += "; send it with Content-Type: application/json"
    return problem(422, f"the request is not as it has to be: {told}", errors=found)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = problem(error.status_code, str(error.detail))
    answer.headers.update(error.headers or {})
    if error.status_code == 405:
        answer.headers["Allow"] = methods_of(request)
    return answer
