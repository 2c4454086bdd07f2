"""The fields of the service's requests that hold text, as its own description has them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Schema = Mapping[str, Any]

# What an otherwise good request says; anything else is "x", or the first of its choices.
GOOD: dict[str, Any] = {
    "user_id": "u1", "item_id": "i3", "item": "i20", "items": ["i20"], "title": "A film", "only": ["i20"],
    "name": "none", "history": ["i3"], "exclude": ["i3"], "columns": {"category": ["Comedy"]},
    "requests": [{"user_id": "u1"}],
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """A place where a text goes.

    Attributes
    ----------
    method, path
        Of the request.
    where
        ``body``, ``path``, ``query`` or ``header``.
    name
        Of a parameter; in a body the way to the text, of names, ``[]`` for the entries of a list, ``{}`` for the values
        and ``{key}`` for the keys of an object.
    body
        Description of the request's body; None for none.
    """

    method: str
    path: str
    where: str
    name: tuple[str, ...]
    body: Schema | None

    def __str__(self) -> str:
        """For people."""
        return f"{self.method} {self.path} {self.where} {'.'.join(self.name)}"


class Description:
    """An OpenAPI description.

    Examples
    --------
    >>> schema = {"type": "object", "properties": {"wish": {"type": "string"}}}
    >>> list(Description({}).texts(schema))
    [('wish',)]
    >>> Description({}).filled(schema, ("wish",), "war")
    {'wish': 'war'}
    """

    def __init__(self, document: Schema) -> None:
        self.document = document

    def fields(self) -> list[Field]:
        """Every text of every body, and every parameter, which is a text whatever it says; what deletes comes last."""
        found = []
        for path, routes in self.document["paths"].items():
            for method, route in routes.items():
                content = route.get("requestBody", {}).get("content", {})
                body = content["application/json"]["schema"] if content else None
                found += [Field(method.upper(), path, "body", way, body) for way in self.texts(body or {})]
                for one in route.get("parameters", []):
                    found.append(Field(method.upper(), path, one["in"], (one["name"],), body))
        return sorted(found, key=lambda one: one.method == "DELETE")

    def texts(self, schema: Schema) -> Iterator[tuple[str, ...]]:
        """The ways to all texts of a body."""
        schema = self._plain(schema)
        for one in schema.get("anyOf", []):
            yield from self.texts(one)
        if schema.get("type") == "string":
            yield ()
        for name, part in schema.get("properties", {}).items():
            yield from ((name, *way) for way in self.texts(part))
        if "items" in schema:
            yield from (("[]", *way) for way in self.texts(schema["items"]))
        if isinstance(schema.get("additionalProperties"), Mapping):
            yield ("{key}",)
            yield from dict.fromkeys(("{}", *way) for way in self.texts(schema["additionalProperties"]))

    def filled(self, schema: Schema, way: tuple[str, ...], text: Any) -> Any:
        """A body that is good but for a text at the end of a way."""
        if not way:
            return text
        step, *rest = way
        for one in self._alternatives(schema):
            if step == "[]" and "items" in one:
                return [self.filled(one["items"], tuple(rest), text)]
            if step in ("{}", "{key}") and isinstance(one.get("additionalProperties"), Mapping):
                inner = one["additionalProperties"]
                if step == "{key}":
                    return {text: self.good(inner, "")}
                return {"category": self.filled(inner, tuple(rest), text)}
            if step in one.get("properties", {}):
                return self.good(one, "") | {step: self.filled(one["properties"][step], tuple(rest), text)}
        raise ValueError(f"no way {way} through {schema}")

    def good(self, schema: Schema, name: str) -> Any:
        """Something that a place may hold."""
        if name in GOOD:
            return GOOD[name]
        one = self._alternatives(schema)[0]
        if one.get("type") == "object":
            return {part: self.good(one["properties"][part], part) for part in one.get("required", [])}
        if one.get("type") == "array":
            return [self.good(one["items"], "")]
        return {"integer": 1, "number": 1.0, "boolean": True}.get(one.get("type", ""), one.get("enum", ["x"])[0])

    def _alternatives(self, schema: Schema) -> list[Schema]:
        schema = self._plain(schema)
        return [self._plain(one) for one in schema.get("anyOf", [schema])]

    def _plain(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return schema


def request_of(description: Description, field: Field, text: Any) -> dict[str, Any]:
    """What a client sends with a text in a field; lone surrogates go as JSON writes them, or as their bytes."""
    named = {one: GOOD.get(one, "1") for one in re.findall(r"{(\w+)}", field.path)}
    asked: dict[str, Any] = {"method": field.method, "headers": {}}
    if field.body is not None:
        way = field.name if field.where == "body" else ()
        body = description.filled(field.body, way, text) if way else description.good(field.body, "")
        asked["content"] = json.dumps(body).encode()
        asked["headers"]["Content-Type"] = "application/json"
    sent = str(text).encode("utf-8", "surrogatepass")
    if field.where == "path":
        named[field.name[0]] = sent
    if field.where == "header":
        asked["headers"][field.name[0].encode()] = sent
    filled = {name: quote(value, safe="") for name, value in named.items()}
    more = f"?{field.name[0]}={quote(sent, safe='')}" if field.where == "query" else ""
    return asked | {"url": field.path.format(**filled) + more}
