"""The application: routes, and what stands before them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer

import flanrec
from flanrec.serving.http import problems
from flanrec.serving.http.gate import LOOPBACK, BodyCap, Guard, Watch
from flanrec.serving.http.routes import feedback, items, models, moderation, online, questions, state, users
from flanrec.serving.http.schemas import Problem
from flanrec.serving.http.shedding import Refusals, Shed
from flanrec.serving.service import Service

_ERRORS = {
    400: "The body is no text.",
    404: "What is named is not there.",
    409: "A model was not taken, and what was served before goes on; or a case was decided already.",
    413: "The body is too large.",
    422: "The request is not as it has to be.",
    429: "Too many requests; Retry-After says when to come again.",
    503: "The service is ending, or its store cannot be used.",
    504: "The answer was not ready before the deadline.",
}
_BY_KEY = {
    401: "No key, or not a valid one.",
    403: "The key lacks the scope.",
    429: _ERRORS[429],
}
_BY_HOST = {421: "The service was asked under a name that is not this machine's own."}


Page = Callable[[FastAPI, Service], None]
"""Adds a page for people to the application."""


def create_app(
    service: Service, *, keys: bool = False, hosts: Sequence[str] = LOOPBACK, pages: Sequence[Page] = ()
) -> FastAPI:
    """The service as an ASGI application, which starts and stops it.

    Parameters
    ----------
    keys
        Whether whoever asks must have an API key.
    hosts
        Names of this host under which it may be asked without a key.
    pages
        What else it serves, such as `flanrec.studio.mount`; behind the same gate.
    """

    @contextlib.asynccontextmanager
    async def alive(_app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="flanrec",
        version=flanrec.__version__,
        description="Recommendations from a tuned Flan-T5 and what people do.",
        lifespan=alive,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    guarded = _BY_KEY if keys else _BY_HOST
    needs = [Security(HTTPBearer(auto_error=False, description="Made by flanrec keys create."))] if keys else []
    for module in (questions, users, items, feedback, moderation, models, online):
        app.include_router(module.router, responses=_told(_ERRORS | guarded), dependencies=needs)
    app.include_router(state.router, responses=_told(guarded), dependencies=needs)
    app.include_router(state.probes, responses=_told({503: _ERRORS[503]} | ({} if keys else _BY_HOST)))
    problems.install(app)
    for page in pages:
        page(app, service)
    # The last that is added stands first.
    app.add_middleware(BodyCap, most=service.settings.limits.body_bytes)
    app.add_middleware(Guard, recogniser=service.recogniser if keys else None, hosts=hosts)
    app.add_middleware(Watch, metrics=service.metrics)
    app.state.refusals = Refusals(service)
    app.add_middleware(Shed, refusals=app.state.refusals)
    return app


def _told(errors: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Errors as the description of the service has them."""
    body = {problems.MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
    return {status: {"description": text, "content": body} for status, text in errors.items()}
