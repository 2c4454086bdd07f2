"""Ids in addresses, and which methods an address has."""

from __future__ import annotations

from fastapi import Request
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Match

_METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE")


class _Id(Convertor[str]):
    """Any text, slashes too, but for the ends that make it the address of something else."""

    regex = r".+(?<!/events)(?<!/similar)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("id", _Id())


def by_id(name: str) -> str:
    """The address of one of many, whose id is told as `name`.

    >>> by_id("user_id")
    '/{user_id:id}'
    """
    return f"/{{{name}:id}}"


def methods_of(request: Request) -> str:
    """All methods that are served at the address of a request, as ``Allow`` lists them.

    The router tells only those of the first route there.
    """
    served = (
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    )
    return ", ".join(served)
