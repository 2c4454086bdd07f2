"""API keys: made once, shown once, and recognised without being kept."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from flanrec.errors import SettingsError
from flanrec.serving.store import Store
from flanrec.serving.store.keys import StoredKey

Scope = Literal["read", "feedback", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "feedback", "admin")

_FORM = re.compile(r"fr_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NOBODY = "0" * 64
_REMEMBERED_SECONDS = 2.0


class NewKey(NamedTuple):
    """A key that was just made.

    Attributes
    ----------
    text
        What its owner sends; it cannot be had again.
    stored
        What the store keeps.
    """

    text: str
    stored: StoredKey


def new_key(name: str, scopes: Sequence[str], per_minute: int = 600) -> NewKey:
    """Make a key of 256 random bits.

    Raises
    ------
    SettingsError
        A scope is unknown, or there is none.
    """
    wrong = [scope for scope in scopes if scope not in SCOPES]
    if wrong or not scopes:
        raise SettingsError(f"a key has scopes of {', '.join(SCOPES)}; these are given: {', '.join(scopes) or 'none'}")
    if per_minute < 1:
        raise SettingsError(f"a key makes at least one request a minute, not {per_minute}")
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    kept = tuple(scope for scope in SCOPES if scope in scopes)
    return NewKey(f"fr_{key_id}_{secret}", StoredKey(key_id, name, _digest(secret), kept, per_minute, time.time()))


def allows(key: StoredKey, scope: Scope) -> bool:
    """Whether a key may do what needs a scope; an admin may do everything."""
    return scope in key.scopes or "admin" in key.scopes


class Recogniser:
    """Knows keys by their digests, and counts what they ask.

    A random secret of 256 bits cannot be found from its SHA-256, so no slow hash is needed. What the store says of a
    key is remembered for two seconds: so long may a key that was revoked go on. Keys are looked up in threads of their
    own, so that nobody waits at the door for what others have the store do.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._remembered: dict[str, tuple[float, StoredKey | None]] = {}
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="flanrec-keys")

    async def recognised(self, text: str) -> StoredKey | None:
        """What `recognise` gives, without holding up the loop: a key that is remembered needs no thread."""
        form = _FORM.fullmatch(text)
        if form is None or self._is_remembered(form[1]):
            return self.recognise(text)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.recognise, text)

    def recognise(self, text: str) -> StoredKey | None:
        """The key that a text is; None for none, or one that was revoked."""
        form = _FORM.fullmatch(text)
        key = self._find(form[1]) if form else None
        # Compared in constant time, with or without such a key.
        right = hmac.compare_digest(_digest(form[2] if form else text), key.digest if key else _NOBODY)
        return key if key and right and not key.revoked else None

    def seconds_to_wait(self, key: StoredKey) -> float:
        """Count one request of a key: 0 if it may be made, else how long it has to wait."""
        limit = parse(f"{key.per_minute}/minute")
        if self._limiter.hit(limit, key.key_id):
            return 0.0
        return max(1.0, self._limiter.get_window_stats(limit, key.key_id).reset_time - time.time())

    def _is_remembered(self, key_id: str) -> bool:
        return time.monotonic() < self._remembered.get(key_id, (0.0, None))[0]

    def _find(self, key_id: str) -> StoredKey | None:
        until, key = self._remembered.get(key_id, (0.0, None))
        if time.monotonic() >= until:
            key = self._store.keys.get(key_id)
            if len(self._remembered) > 10_000:  # ids that somebody made up
                self._remembered.clear()
            self._remembered[key_id] = (time.monotonic() + _REMEMBERED_SECONDS, key)
        return key


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
