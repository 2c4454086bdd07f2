"""The models that are served."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from flanrec.serving.http.asking import said, service_of, trace_of
from flanrec.serving.http.fields import Name
from flanrec.serving.http.schemas import ModelFolder, ModelList, ModelVersion
from flanrec.serving.http.wording import version_of

router = APIRouter(prefix="/v1/models", tags=["models"])

ModelName = Annotated[Name, Path(description="Under which it is served.")]


@router.get("", response_model=ModelList)
async def models(request: Request) -> Response:
    """Which models are served, and which folders there are to load from."""
    service = service_of(request)
    folders = await asyncio.to_thread(service.shelf.folders)
    return said(ModelList(models=[version_of(live) for live in service.models.all()], folders=folders))


@router.put("/{name}", response_model=ModelVersion)
async def load(request: Request, name: ModelName, given: ModelFolder) -> Response:
    """Serve a saved recommender under a name, in the place of what was there.

    It is loaded and asked its golden requests while the earlier one goes on; where something is wrong, nothing changes.
    """
    service = service_of(request)
    live = await asyncio.to_thread(service.load, name, service.shelf.folder(given.folder), trace_of(request))
    return said(version_of(live))


@router.post("/{name}/rollback", response_model=ModelVersion)
async def roll_back(request: Request, name: ModelName) -> Response:
    """Serve again what was served under this name before."""
    live = await asyncio.to_thread(service_of(request).roll_back, name, trace_of(request))
    return said(version_of(live))
