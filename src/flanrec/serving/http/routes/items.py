"""Items."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from flanrec.errors import NotFoundError, SettingsError
from flanrec.serving.http.addresses import by_id
from flanrec.serving.http.asking import said, service_of, short_enough, trace_of, within
from flanrec.serving.http.cursors import Cursor, closed, opened
from flanrec.serving.http.fields import Id
from flanrec.serving.http.schemas import ItemAnswer, ItemBody, ItemPage, ItemPatch, Items, ItemWithId, Put
from flanrec.serving.service import Service
from flanrec.serving.settings import Limits
from flanrec.serving.store import Item

router = APIRouter(prefix="/v1/items", tags=["items"])

ItemId = Annotated[Id, Path(description="Of an item.")]


@router.get("", response_model=ItemPage)
async def items(
    request: Request,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1)] = 100,
    containing: Annotated[str, Query(max_length=200, description="Words in the title.")] = "",
) -> Response:
    """The items by id."""
    service = service_of(request)
    within("limit", limit, service.settings.limits.page)
    page = await asyncio.to_thread(service.store.items.page, opened(cursor), limit, containing.replace("\0", " "))
    return said(ItemPage(items=[_body(item) for item in page.records], next=closed(page.after)))


@router.post("", response_model=Put)
async def put_many(request: Request, given: Items) -> Response:
    """Create or replace items, all or none. They can be recommended when this is answered."""
    service = service_of(request)
    within("items", len(given.items), service.settings.limits.candidates)
    new = await _put(request, service, [_item(one, one.item_id, service.settings.limits) for one in given.items])
    return said(Put(created=sum(new), replaced=len(new) - sum(new)))


@router.put(by_id("item_id"), response_model=ItemAnswer, responses={201: {"model": ItemAnswer}})
async def put(request: Request, item_id: ItemId, given: ItemBody) -> Response:
    """Create or replace an item. It can be recommended when this is answered."""
    service = service_of(request)
    item = _item(given, item_id, service.settings.limits)
    new = await _put(request, service, [item])
    return said(_body(item), 201 if new[0] else 200)


@router.patch(by_id("item_id"), response_model=ItemAnswer)
async def patch(request: Request, item_id: ItemId, given: ItemPatch) -> Response:
    """Change some fields of an item; attributes that are null go, and so does a year."""
    service = service_of(request)
    changes = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.model_dump(exclude_unset=True).items()
        if value is not None or name == "year"
    }
    _check(service.settings.limits, given)
    if "title" in changes and not str(changes["title"]).strip():
        raise SettingsError("title: an item keeps a title; give one")
    found = await asyncio.to_thread(service.store.items.patch, item_id, changes, trace_of(request))
    if found is None:
        raise NotFoundError(f"there is no item {item_id!r}")
    await service.refresh()
    return said(_body(found))


@router.delete(by_id("item_id"), status_code=204)
async def delete(request: Request, item_id: ItemId) -> Response:
    """Delete an item: it is not recommended any more, whichever model is served."""
    service = service_of(request)
    if not await asyncio.to_thread(service.store.items.delete, item_id, trace_of(request)):
        raise NotFoundError(f"there is no item {item_id!r}")
    return Response(status_code=204)


@router.get(by_id("item_id"), response_model=ItemAnswer)
async def get(request: Request, item_id: ItemId) -> Response:
    """An item."""
    found = await asyncio.to_thread(service_of(request).store.items.get, item_id)
    if found is None:
        raise NotFoundError(f"there is no item {item_id!r}")
    return said(_body(found))


async def _put(request: Request, service: Service, given: list[Item]) -> list[bool]:
    ids = [item.item_id for item in given]
    if len(set(ids)) < len(ids):
        twice = next(item for item in ids if ids.count(item) > 1)
        raise SettingsError(f"items: {twice!r} is there more than once")
    for live in service.models.all():
        wrong = [item for item in ids if not live.accepts(item)]
        if wrong:
            raise SettingsError(f"item_id: ids of this catalogue are whole numbers, {wrong[0]!r} is none")
    new = await asyncio.to_thread(service.store.items.put, given, trace_of(request))
    await service.refresh()
    return new


def _item(given: ItemBody | ItemWithId, item_id: str, limits: Limits) -> Item:
    _check(limits, given)
    if not given.title.strip() and not given.text.strip():
        raise SettingsError("title: an item needs a title, or at least a text")
    told = {name: value for name, value in given.attributes.items() if value is not None}
    return Item(item_id, given.title, given.text, tuple(given.category), given.year, told)


def _check(limits: Limits, given: ItemBody | ItemPatch) -> None:
    within("characters of title", len(given.title or ""), limits.text)
    within("characters of text", len(given.text or ""), limits.item_text)
    within("characters of a category", max(map(len, given.category or ()), default=0), limits.text)
    short_enough(limits, given.attributes or {})


def _body(item: Item) -> ItemAnswer:
    return ItemAnswer(
        item_id=item.item_id, title=item.title, text=item.text, category=list(item.category), year=item.year,
        attributes=dict(item.attributes),
    )  # fmt: skip
