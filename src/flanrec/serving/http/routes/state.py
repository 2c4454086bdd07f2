"""How the service is."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

import flanrec
from flanrec.errors import StoreError
from flanrec.serving.http.asking import said, service_of
from flanrec.serving.http.problems import problem
from flanrec.serving.http.schemas import Version
from flanrec.serving.http.wording import version_of
from flanrec.serving.watching import CONTENT_TYPE

router = APIRouter(tags=["state"])


@router.get("/livez", response_model=str)
async def livez() -> Response:
    """Whether the process answers."""
    return Response('"alive"', media_type="application/json")


@router.get("/readyz", response_model=str)
async def readyz(request: Request) -> Response:
    """Whether requests should come here: models are loaded, the store answers, and the service is not ending."""
    service = service_of(request)
    if not service.ready:
        return problem(503, "the service is starting or ending", retry=1)
    try:
        await asyncio.to_thread(service.store.check)
    except StoreError:
        return problem(503, "the store does not answer", retry=1)
    return Response('"ready"', media_type="application/json")


@router.get("/version", response_model=Version)
async def version(request: Request) -> Response:
    """Which flanrec, and which models."""
    models = [version_of(live) for live in service_of(request).models.all()]
    return said(Version(flanrec=flanrec.__version__, models=models))


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Counters and histograms for Prometheus."""
    return Response(await asyncio.to_thread(service_of(request).metrics.text), media_type=CONTENT_TYPE)
