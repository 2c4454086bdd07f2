"""Which column plays which role, under the many names that log files give it.

A name is compared without case, spaces and punctuation, so ``movieId``, ``movie_id`` and ``Movie ID``
are the same. Where several columns could play a role, the alias that stands first in the list wins.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from flanrec.errors import DataError

log = logging.getLogger(__name__)

TableKind = Literal["interactions", "items", "users", "reviews"]

USER_ID = ("user_id", "user", "uid", "reviewer_id", "customer_id", "visitor_id", "client_id", "account_id", "member_id")
ITEM_ID = (
    "item_id",
    "item",
    "iid",
    "movie_id",
    "asin",
    "parent_asin",
    "product_id",
    "sku",
    "article_id",
    "book_id",
    "news_id",
    "song_id",
    "track_id",
    "video_id",
    "business_id",
)
TIMESTAMP = (
    "timestamp",
    "ts",
    "time",
    "datetime",
    "unix_review_time",
    "event_time",
    "date",
    "created_at",
    "review_time",
)
RATING = ("rating", "overall", "stars", "score", "rate", "review_score")
WEIGHT = ("weight", "count", "quantity", "strength", "plays", "play_count")
EVENT = ("event", "event_type", "action", "behavior", "behaviour", "interaction_type")
TITLE = ("title", "movie_title", "name", "item_name", "product_name", "product_title", "book_title", "headline")
TEXT = ("text", "description", "content", "overview", "plot", "synopsis", "summary", "abstract", "body")
CATEGORY = ("category", "categories", "genres", "genre", "class", "tags", "tag", "topics", "topic", "main_category")
YEAR = ("year", "release_year", "published_year", "publication_year")
REVIEW_TEXT = ("text", "review_text", "review", "comment", "body", "content", "summary")

ROLES: Mapping[TableKind, Mapping[str, tuple[str, ...]]] = {
    "interactions": {
        "user_id": USER_ID,
        "item_id": ITEM_ID,
        "timestamp": TIMESTAMP,
        "weight": WEIGHT,
        "rating": RATING,
        "event": EVENT,
    },
    "items": {"item_id": (*ITEM_ID, "id"), "title": TITLE, "text": TEXT, "category": CATEGORY, "year": YEAR},
    "users": {"user_id": (*USER_ID, "id")},
    "reviews": {
        "user_id": USER_ID,
        "item_id": ITEM_ID,
        "text": REVIEW_TEXT,
        "timestamp": TIMESTAMP,
        "rating": RATING,
    },
}

REQUIRED: Mapping[TableKind, tuple[str, ...]] = {
    "interactions": ("user_id", "item_id"),
    "items": ("item_id",),
    "users": ("user_id",),
    "reviews": ("user_id", "item_id", "text"),
}


def plain(name: str) -> str:
    """A column name without case, spaces and punctuation.

    >>> plain("Movie ID"), plain("movieId")
    ('movieid', 'movieid')
    """
    return re.sub(r"[\W_]+", "", name).casefold()


def resolve_columns(columns: Sequence[str], kind: TableKind, file: str) -> dict[str, str]:
    """Find the column of each role.

    Parameters
    ----------
    columns
        Names as they stand in the file.
    kind
        Which table this is.
    file
        Name used in messages.

    Returns
    -------
    dict
        Role -> column name, only for roles that were found.

    Raises
    ------
    DataError
        A required role has no column; the message names the columns found and the names accepted.
    """
    by_plain: dict[str, str] = {}
    for column in columns:
        by_plain.setdefault(plain(column), column)
    found: dict[str, str] = {}
    for role, aliases in ROLES[kind].items():
        matches = [by_plain[key] for key in map(plain, aliases) if key in by_plain]
        matches = [column for column in matches if column not in found.values()]
        if matches:
            found[role] = matches[0]
            if len(matches) > 1:
                log.info("%s: %s is read from column %r, not from %s", file, role, matches[0], matches[1:])
    for role in REQUIRED[kind]:
        if role not in found:
            raise missing_column(columns, kind, (role,), file)
    if kind == "items" and "title" not in found and "text" not in found:
        raise missing_column(columns, kind, ("title", "text"), file)
    return found


def missing_column(columns: Sequence[str], kind: TableKind, roles: Sequence[str], file: str) -> DataError:
    """The error for a table in which none of `roles` has a column."""
    accepted = "; ".join(f"for {role}: {', '.join(ROLES[kind][role])}" for role in roles)
    return DataError(
        f"{file}: the {kind} table has no column for {' or '.join(roles)}. "
        f"Columns found: {', '.join(columns) or '(none)'}. Names accepted {accepted}. "
        "Rename a column, or add the header line if the file has none."
    )
