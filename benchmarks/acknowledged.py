"""Requests that change what a service keeps, and what it acknowledged of them: for `kills.py`."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

OWN_ITEMS, OWN_USERS = 20, 12
"""Each thread changes ids of its own, so that it knows in which order they changed."""


class States:
    """What a record may be: as it was acknowledged last, or as what was sent since would have it.

    A request that got no answer may have been kept or not.
    """

    def __init__(self) -> None:
        self._maybe: dict[str, list[Any]] = {}
        self._lock = threading.Lock()
        self.acknowledged = 0

    def sent(self, name: str, state: Any) -> None:
        """A request is on its way that would make a record so; None deletes it."""
        with self._lock:
            self._maybe.setdefault(name, [None]).append(state)

    def answered(self, name: str, state: Any) -> None:
        """That was acknowledged."""
        with self._lock:
            self._maybe[name] = [state]
            self.acknowledged += 1

    def wrong(self, there: Mapping[str, Any]) -> list[str]:
        """Names of the records that are in no state that they may be in; what is there counts from then on."""
        with self._lock:
            names = [name for name, maybe in self._maybe.items() if there.get(name) not in maybe]
            self._maybe = {name: [there.get(name)] for name in self._maybe}
        return names


class Acknowledged:
    """What a service said that it kept.

    Parameters
    ----------
    users, items
        Of the model, for whom and with which events are reported.
    """

    def __init__(self, users: Sequence[str], items: Sequence[str]) -> None:
        self.users, self.known = users, items
        self.events: set[str] = set()
        self.items, self.people, self.reviews = States(), States(), States()
        self._lists = 0

    def to_dict(self) -> dict[str, int]:
        """How many of each."""
        return {
            "events": len(self.events), "items": self.items.acknowledged, "users": self.people.acknowledged,
            "reviews": self.reviews.acknowledged, "lists": self._lists,
        }  # fmt: skip

    def report(self, client: httpx.Client, name: str, draw: random.Random) -> None:
        """Report some events, one of them with a review."""
        names = [f"{name}-{part}" for part in range(draw.randint(1, 5))]
        writer, item = f"writer-{name.rsplit('-', 1)[0]}", draw.choice(self.known)
        events = [
            {"user_id": draw.choice(self.users), "item_id": thing, "feedback_id": one}
            for one, thing in zip(names, draw.sample(self.known, len(names)), strict=True)
        ]
        events.append({"user_id": writer, "item_id": item, "feedback_id": f"{name}-review", "review": name})
        self.reviews.sent(f"{writer} {item}", name)
        if client.post("/v1/feedback", json={"events": events}).status_code == 200:
            self.events |= {*names, f"{name}-review"}
            self.reviews.answered(f"{writer} {item}", name)

    def change_items(self, client: httpx.Client, name: str, draw: random.Random) -> None:
        """Put some items, word one anew, or delete one."""
        first, kind = OWN_ITEMS * _thread(name), draw.choice(("POST", "PUT", "PATCH", "DELETE", "DELETE"))
        some = [str(9_000_000 + first + one) for one in draw.sample(range(OWN_ITEMS), 6 if kind == "POST" else 1)]
        title = None if kind == "DELETE" else f"An item of {name}"
        for item in some:
            self.items.sent(item, title)
        if kind == "POST":
            answer = client.post("/v1/items", json={"items": [{"item_id": item, "title": title} for item in some]})
        else:
            answer = client.request(kind, f"/v1/items/{some[0]}", json=title and {"title": title})
        if answer.is_success:
            for item in some:
                self.items.answered(item, title)

    def change_users(self, client: httpx.Client, name: str, draw: random.Random) -> None:
        """Put a user, change them, or delete them with what they did."""
        user = f"person-{_thread(name)}-{draw.randrange(OWN_USERS)}"
        address, told = f"/v1/users/{user}", {"note": name}
        kind = draw.choice(("PUT", "PATCH", "DELETE"))
        self.people.sent(user, None if kind == "DELETE" else told)
        if client.request(kind, address, json=None if kind == "DELETE" else {"attributes": told}).is_success:
            self.people.answered(user, None if kind == "DELETE" else told)
        if kind == "PUT":  # what goes with them when they are deleted
            client.post("/v1/feedback", json={"events": [{"user_id": user, "item_id": self.known[0], "review": "x"}]})

    def ask(self, client: httpx.Client, _name: str, draw: random.Random) -> None:
        """Ask for a list, which is kept as one that was shown."""
        if client.post("/v1/recommend", json={"user_id": draw.choice(self.users)}).status_code == 200:
            self._lists += 1


_LEFT = """
SELECT user_id FROM events WHERE user_id LIKE 'person-%' AND user_id NOT IN (SELECT user_id FROM users)
UNION SELECT user_id FROM reviews WHERE user_id LIKE 'person-%' AND user_id NOT IN (SELECT user_id FROM users)
"""


def lost(store: Path, kept: Acknowledged) -> dict[str, Any]:
    """What was acknowledged and is not so in a SQLite store that no process has open; nothing where all is well."""
    with closing(sqlite3.connect(store)) as connection:
        whole = connection.execute("PRAGMA integrity_check").fetchone()[0]
        events = _column(connection.execute("SELECT feedback_id FROM events WHERE feedback_id IS NOT NULL"))
        items = dict(connection.execute("SELECT item_id, title FROM items WHERE NOT deleted"))
        people = dict(connection.execute("SELECT user_id, json_extract(attributes, '$.note') FROM users"))
        texts = dict(connection.execute("SELECT user_id || ' ' || item_id, text FROM reviews"))
        left = _column(connection.execute(_LEFT))
    found: dict[str, Any] = {
        "events": sorted(kept.events - events)[:5],
        "left of users who were deleted": sorted(left)[:5],
        "items": kept.items.wrong(items)[:5],
        "users": kept.people.wrong({user: {"note": note} for user, note in people.items()})[:5],
        "reviews": kept.reviews.wrong(texts)[:5],
    }
    if whole != "ok":
        found["integrity"] = whole
    return {name: missing for name, missing in found.items() if missing}


def _column(rows: Iterable[Sequence[Any]]) -> set[str]:
    return {row[0] for row in rows}


def _thread(name: str) -> int:
    """The number of the thread that a name is of: ROUND-THREAD-REQUEST."""
    return int(name.split("-")[1])
