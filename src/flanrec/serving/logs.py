"""Log lines as JSON: one object a line, with the request's id and without anything about a person."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextvars import ContextVar
from typing import Any

REQUEST_ID: ContextVar[str] = ContextVar("flanrec_request_id", default="")
"""Of the request that is being answered."""

ACCESS = "flanrec.access"
_FACTS = ("route", "method", "status", "milliseconds", "key")


class JsonLines(logging.Formatter):
    """Formats a record as a JSON object: time, level, logger, message, request and, for requests, what became of them.

    Of an error's trail the places are kept and not the values, which may be what people wrote.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := getattr(record, "request_id", "") or REQUEST_ID.get():
            line["request_id"] = request_id
        line |= {name: getattr(record, name) for name in _FACTS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["places"] = _places(record.exc_info[2])
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr() -> None:
    """Have everything logged as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("flanrec").handlers.clear()  # the command line's own
    for noisy in ("uvicorn.error", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _places(trail: Any) -> list[str]:
    found = []
    while trail is not None:
        code = trail.tb_frame.f_code
        found.append(f"{code.co_filename.rpartition('/')[2]}:{trail.tb_lineno} {code.co_name}")
        trail = trail.tb_next
    return found
