"""A client of the service, which tries again where that is safe."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from flanrec.errors import FlanrecError

_AGAIN = frozenset({429, 503})
_LONGEST_WAIT = 30.0


class ServiceError(FlanrecError):
    """Raised when the service refuses a request, or cannot be reached after all tries.

    Attributes
    ----------
    status
        Of HTTP; 0 where there was no answer.
    request_id
        Under which the service's log has it; "" for none.
    lost
        Whether the answer to this request, sent before, may have been lost on the way: it may have been acted on.
    """

    def __init__(self, message: str, status: int = 0, request_id: str = "", *, lost: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id
        self.lost = lost


class Client:
    """Asks a service of ``flanrec serve``.

    Requests are tried again after 429, 503 and connections that were not made, with growing pauses or as long as the
    service says; where the answer was lost, those that change nothing, or the same when they are sent twice. Reports of
    events carry a key of their own, so that one whose answer was lost is not counted twice.

    Parameters
    ----------
    address
        Such as ``http://127.0.0.1:8000``.
    key
        An API key, where the service asks for one.
    seconds
        How long an answer may take.
    tries
        Most times that a request is sent.
    http
        An `httpx.Client` of your own in place of address, key and seconds.

    Examples
    --------
    Ask, and tell what became of it::

        with Client("http://127.0.0.1:8000", key="fr_...") as service:
            answer = service.recommend(user_id="196", k=5, wish="something slow and strange")
            service.feedback([{"user_id": "196", "item_id": answer["items"][0]["item_id"], "event": "click",
                               "request_id": answer["request_id"]}])
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8000",
        key: str | None = None,
        seconds: float = 10.0,
        tries: int = 4,
        *,
        http: httpx.Client | None = None,
    ) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = http or httpx.Client(base_url=address, headers=headers, timeout=seconds)
        self._tries = max(1, tries)

    def __enter__(self) -> Client:
        """Use it in a with statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def recommend(self, **asked: Any) -> dict[str, Any]:
        """A list, asked with the fields of ``POST /v1/recommend``.

        Raises
        ------
        ServiceError
            The service refuses, or cannot be reached. So does every other method.
        """
        return self._json("POST", "/v1/recommend", asked)

    def recommend_many(self, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Several lists; a problem stands in the place of one that was asked wrongly."""
        answers: list[dict[str, Any]] = self._json("POST", "/v1/recommend/batch", {"requests": list(requests)})[
            "answers"
        ]
        return answers

    def rank(self, items: Sequence[str], **asked: Any) -> dict[str, Any]:
        """Given items, the best first."""
        return self._json("POST", "/v1/rank", {"items": list(items), **asked})

    def match(self, items: Sequence[str], **asked: Any) -> dict[str, float]:
        """The probability that each item is liked."""
        found = self._json("POST", "/v1/match", {"items": list(items), **asked})
        return {item["item_id"]: item["probability"] for item in found["items"]}

    def explain(self, item: str, **asked: Any) -> dict[str, Any]:
        """What speaks for an item."""
        return self._json("POST", "/v1/explain", {"item": item, **asked})

    def similar(self, item_id: str, k: int = 10, by: str = "content") -> dict[str, Any]:
        """Items like one."""
        return self._json("GET", f"/v1/items/{_quoted(item_id)}/similar?k={k}&by={quote(by)}")

    def feedback(self, events: Sequence[Mapping[str, Any]], key: str | None = None) -> dict[str, Any]:
        """Report events.

        Parameters
        ----------
        key
            Stands for the ids of events without ``feedback_id``; a new one by default, so that what is sent again by
            this call is not counted again.
        """
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return self._json("POST", "/v1/feedback", {"events": list(events)}, headers)

    def put_items(self, items: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Create or replace items, all or none."""
        return self._json("POST", "/v1/items", {"items": list(items)})

    def patch_item(self, item_id: str, **changes: Any) -> dict[str, Any]:
        """Change some fields of an item."""
        return self._json("PATCH", f"/v1/items/{_quoted(item_id)}", changes)

    def delete_item(self, item_id: str) -> None:
        """Delete an item."""
        self._delete(f"/v1/items/{_quoted(item_id)}")

    def items(self) -> Iterator[dict[str, Any]]:
        """All items, page after page."""
        return self._pages("/v1/items", "items")

    def put_user(self, user_id: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Create or replace a user."""
        return self._json("PUT", f"/v1/users/{_quoted(user_id)}", {"attributes": dict(attributes)})

    def delete_user(self, user_id: str) -> None:
        """Delete a user with all that is theirs."""
        self._delete(f"/v1/users/{_quoted(user_id)}")

    def events(self, user_id: str) -> Iterator[dict[str, Any]]:
        """What a user did, page after page."""
        return self._pages(f"/v1/users/{_quoted(user_id)}/events", "events")

    def cases(self, state: str = "open") -> Iterator[dict[str, Any]]:
        """The queue for review from the newest case on, page after page; ``all`` for those that were decided too."""
        return self._pages(f"/v1/moderation?state={quote(state)}", "cases")

    def ask_for_review(self, item_id: str, reason: str = "") -> dict[str, Any]:
        """Have a person look at an item; the case as it is then."""
        return self._json("POST", "/v1/moderation", {"item_id": str(item_id), "reason": reason}, once=True)

    def decide(self, number: int, decision: str, note: str = "") -> dict[str, Any]:
        """Close a case: ``keep`` the item, or ``take_down``, which deletes it."""
        return self._json("POST", f"/v1/moderation/{number}", {"decision": decision, "note": note}, once=True)

    def version(self) -> dict[str, Any]:
        """What runs there."""
        return self._json("GET", "/version")

    def _pages(self, path: str, name: str) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            more = f"limit=1000&cursor={cursor}" if cursor else "limit=1000"
            page = self._json("GET", f"{path}{'&' if '?' in path else '?'}{more}")
            yield from page[name]
            cursor = page["next"]
            if cursor is None:
                return

    def _delete(self, path: str) -> None:
        try:
            self._send("DELETE", path)
        except ServiceError as refused:
            if refused.status != 404 or not refused.lost:
                raise

    def _json(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None,
        *, once: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        found: dict[str, Any] = self._send(method, path, body, headers, once=once).json()
        return found

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None,
        *, once: bool = False,
    ) -> httpx.Response:  # fmt: skip
        """Send a request; `once`: only where it is sure that no earlier one was acted on."""
        lost = False
        for tried in range(1, self._tries + 1):
            last = tried == self._tries
            try:
                answer = self._http.request(method, path, json=body, headers=dict(headers or {}))
            except httpx.TransportError as problem:
                made = not isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
                lost |= made
                if last or (once and made):
                    raise ServiceError(f"the service does not answer: {type(problem).__name__}", lost=lost) from problem
                time.sleep(_pause(tried, None))
                continue
            if answer.status_code in _AGAIN and not last:
                time.sleep(_pause(tried, answer.headers.get("Retry-After")))
                continue
            if answer.status_code >= 400:
                raise _refused(answer, lost)
            return answer
        raise AssertionError("a request is sent at least once")


def _quoted(item_id: str) -> str:
    return quote(str(item_id), safe="")


def _pause(tried: int, told: str | None) -> float:
    """As long as the service says, else a growing time, of which chance takes up to half."""
    if told is not None and told.isdecimal():
        return min(float(told), _LONGEST_WAIT)
    return float(min(0.1 * 2**tried, _LONGEST_WAIT) * random.uniform(0.5, 1.0))


def _refused(answer: httpx.Response, lost: bool) -> ServiceError:
    try:
        told = answer.json()
        detail, request_id = str(told["detail"]), str(told["request_id"])
    except (ValueError, KeyError, TypeError):
        detail, request_id = answer.reason_phrase, ""
    return ServiceError(f"{answer.status_code}: {detail}", answer.status_code, request_id, lost=lost)
