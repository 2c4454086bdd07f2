"""What every answer has in its head: the request's id, and what browsers may do with it."""

from __future__ import annotations

import re
import secrets

from starlette.datastructures import Headers
from starlette.types import Scope

SAFE = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer"))
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id(scope: Scope) -> str:
    """The id that a request brought along in ``X-Request-ID``, where it is one, or a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(12)
