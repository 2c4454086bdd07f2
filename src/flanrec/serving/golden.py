"""Golden requests: what a model must answer well before it answers anybody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from flanrec.errors import FlanrecError, SettingsError
from flanrec.recommender.asking import NOTHING, Asking
from flanrec.recommender.settings.base import Settings
from flanrec.serving.lists import Listed, Wanted, make_lists
from flanrec.serving.live import Live
from flanrec.serving.people import newcomer

_USERS = 5
_LENGTH = 10


class GoldenRequest(Settings):
    """A request with what its answer must have.

    Its history is of item ids or titles, so that it says the same of every version of a model.
    """

    history: tuple[str, ...] = ()
    """Item ids or titles, oldest first; none for somebody who is new."""
    wish: str = ""
    """What is wanted, in words."""
    k: int = Field(default=10, ge=1, le=1000)
    """Length of the list."""
    any_of: tuple[str, ...] = ()
    """Item ids of which the list must have at least one; those of the history never come."""
    none_of: tuple[str, ...] = ()
    """Item ids that it must not have."""


def read_golden(path: Path) -> tuple[GoldenRequest, ...]:
    """The golden requests of a JSON file: a list of objects with the fields of `GoldenRequest`.

    Raises
    ------
    SettingsError
        The file cannot be read, or a request has an unknown field or a value that cannot work.
    """
    try:
        return _REQUESTS.validate_python(json.loads(path.read_text(encoding="utf-8")))
    except OSError as problem:
        raise SettingsError(f"{path}: golden requests cannot be read: {problem.strerror}; check the path") from problem
    except ValidationError as problem:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problem.errors())
        raise SettingsError(f"{path}: {wrong}; give a list of objects with {_FIELDS}") from problem
    except ValueError as problem:
        raise SettingsError(f"{path}: this is not JSON: {problem}") from problem


_REQUESTS = TypeAdapter(tuple[GoldenRequest, ...])
_FIELDS = ", ".join(GoldenRequest.model_fields)


@dataclass(frozen=True)
class Golden:
    """Asks a model before it is served.

    Attributes
    ----------
    requests
        Given ones. Some users of the model's own log, and somebody who is new, are always asked for too.
    """

    requests: tuple[GoldenRequest, ...] = ()

    def failures(self, live: Live) -> list[str]:
        """What is wrong with the answers of a model; nothing where all is well."""
        people = live.recommender.parts.people
        users = people.log.user_ids[:: max(1, len(people.log.user_ids) // _USERS)][:_USERS]
        own = [Wanted(live, person, NOTHING, _LENGTH) for person in [*people.find(users), newcomer(live)]]
        wrong = [_wrong(one, listed) for one, listed in zip(own, make_lists(own), strict=True)]
        for request in self.requests:
            try:
                given = Wanted(live, newcomer(live, request.history), Asking(request.wish), request.k)
            except FlanrecError as problem:
                wrong.append(str(problem))
                continue
            listed = make_lists([given])[0]
            wrong.append(_wrong(given, listed) or _unlike(request, given, listed))
        return list(dict.fromkeys(one for one in wrong if one))


def _wrong(wanted: Wanted, listed: Listed | Exception) -> str:
    """What no list may be."""
    if isinstance(listed, Exception):
        return f"a golden request failed: {listed}"
    if listed.fallback:
        return f"a golden request got what is popular: {listed.fallback}"
    items = listed.items.tolist()
    seen = set(wanted.person.items.tolist())
    possible = min(wanted.k, int(wanted.live.open.sum()) - len(seen))
    if len(items) < possible:
        return f"a golden request got {len(items)} items where {possible} are possible"
    if len(set(items)) < len(items) or seen & set(items) or not wanted.live.open[items].all():
        return "a golden request got items twice, seen before, or deleted"
    return ""


def _unlike(request: GoldenRequest, wanted: Wanted, listed: Listed | Exception) -> str:
    """What this list may not be."""
    items: Sequence[str] = (
        [] if isinstance(listed, Exception) else [wanted.live.ids[at] for at in listed.items.tolist()]
    )
    said = f"after {', '.join(request.history) or 'nothing'}" + (f", wishing {request.wish!r}" if request.wish else "")
    seen = {wanted.live.ids[at] for at in wanted.person.items.tolist()}
    if request.any_of and not set(request.any_of) - seen:
        return f"{said}: {', '.join(request.any_of)} cannot come, being in the history; name others in any_of"
    if request.any_of and not set(items) & set(request.any_of):
        return f"{said}: none of {', '.join(request.any_of)} among {', '.join(items)}"
    both = set(items) & set(request.none_of)
    return f"{said}: {', '.join(sorted(both))} must not come" if both else ""
