"""Events that are reported: kept whole, or not at all, and counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from flanrec.errors import SettingsError
from flanrec.serving.service import Service
from flanrec.serving.store import Event


async def report(service: Service, events: Sequence[Event]) -> int:
    """Keep events; how many of them were new. They are on the disk then, and count in the users' next lists.

    Those that call for a person to look at their item open a case for review.

    Raises
    ------
    SettingsError
        One of them has an item that is not there; none is kept.
    """
    known = await asyncio.to_thread(service.store.items.known, [event.item_id for event in events])
    unknown = [number for number, event in enumerate(events) if event.item_id not in known]
    if unknown:
        where = ", ".join(f"events.{number}" for number in unknown[:10])
        raise SettingsError(f"{where}: {len(unknown)} events have an item that is not there; none was kept")
    calls = service.settings.learning.reported
    new = sum(await asyncio.to_thread(service.store.events.add, events, calls))
    service.metrics.events.labels("yes").inc(new)
    service.metrics.events.labels("no").inc(len(events) - new)
    return new
