"""The data set: interactions, items and, if there are any, users and reviews, validated and of one id type."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl

from flanrec.data.addresses import TableAddress
from flanrec.data.columns import same_id_type
from flanrec.data.describe import describe
from flanrec.data.problems import Problems
from flanrec.data.readers import Table, read_table
from flanrec.data.sequences import Sequences, build_sequences, sorted_ids
from flanrec.data.tables import check_interactions, check_items, check_reviews, check_users, reject_unknown_items
from flanrec.errors import DataError, SettingsError

log = logging.getLogger(__name__)

OnBadRows = Literal["raise", "skip"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Validated interactions and items, and users and reviews where given.

    Attributes
    ----------
    interactions
        user_id, item_id, timestamp (seconds, Int64 or Float64, null if none), weight (Float64), rating
        (Float64) and event (String) if given, row (UInt32, order of input).
    items
        item_id, title, text (may be empty), category (List[String]), year (Int32) if given, attributes.
    users
        user_id and attributes, or None.
    reviews
        user_id, item_id, text, timestamp and rating if given, or None.
    name
        For reports.
    """

    interactions: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame | None = None
    reviews: pl.DataFrame | None = None
    name: str = "dataset"

    @classmethod
    def from_files(
        cls,
        interactions: str | Path | TableAddress,
        items: str | Path | TableAddress,
        users: str | Path | TableAddress | None = None,
        reviews: str | Path | TableAddress | None = None,
        on_bad_rows: OnBadRows = "raise",
        rejects: str | Path | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Read and validate files, or tables of a PostgreSQL database (see `flanrec.data.readers` for the formats).

        Parameters
        ----------
        on_bad_rows
            ``"raise"`` refuses the data if any row is unusable and reports all of them; ``"skip"``
            leaves those rows out and logs their number.
        rejects
            Where to write the unusable rows as CSV: file, row, column, value, problem, remedy.

        Raises
        ------
        DataError
            A table cannot be read, lacks a column, or has unusable rows (`BadRowsError`).
        SettingsError
            The address of a database is malformed, or the extra ``postgresql`` is not installed.
        """
        return _build(
            read_table(interactions),
            read_table(items),
            None if users is None else read_table(users),
            None if reviews is None else read_table(reviews),
            on_bad_rows,
            rejects,
            name or TableAddress.parse(interactions).name,
        )

    @classmethod
    def from_frames(
        cls,
        interactions: Any,
        items: Any,
        users: Any = None,
        reviews: Any = None,
        name: str = "dataset",
        on_bad_rows: OnBadRows = "raise",
        rejects: str | Path | None = None,
    ) -> Dataset:
        """Validate polars frames (or whatever ``polars.DataFrame`` accepts) as `from_files` does files.

        Examples
        --------
        >>> data = Dataset.from_frames({"user": [1, 1], "item": [7, 8]}, {"item": [7, 8], "title": ["A", "B"]})
        >>> data.user_ids, data.item_ids
        ([1], [7, 8])
        """
        return _build(
            table_of(interactions, "interactions"),
            table_of(items, "items"),
            None if users is None else table_of(users, "users"),
            None if reviews is None else table_of(reviews, "reviews"),
            on_bad_rows,
            rejects,
            name,
        )

    @cached_property
    def item_ids(self) -> list[Any]:
        """All item ids in catalogue order: that of the items table."""
        return self.items["item_id"].to_list()

    @cached_property
    def user_ids(self) -> list[Any]:
        """Ids of the users with interactions, ascending (texts that are whole numbers by their number)."""
        return sorted_ids(self.interactions["user_id"].unique(maintain_order=True).to_list())

    def sequences(self, user_ids: Iterable[Any] | None = None) -> Sequences:
        """Each user's events in order of time, then of input row.

        Parameters
        ----------
        user_ids
            The users wanted, in this order; one without interactions has no events. All by default.
        """
        wanted = self.user_ids if user_ids is None else list(user_ids)
        return build_sequences(self.interactions, self.items, wanted)

    def with_interactions(self, frame: pl.DataFrame) -> Dataset:
        """The same items, users and reviews with other interactions, in the columns of `interactions`.

        Raises
        ------
        DataError
            `frame` lacks a column that `interactions` has.
        """
        missing = [column for column in self.interactions.columns if column not in frame.columns]
        if missing:
            raise DataError(f"interactions lack the columns {', '.join(missing)}. Take the frame from this data set.")
        return replace(self, interactions=frame.select(self.interactions.columns))

    def fingerprint(self) -> str:
        """SHA-256 over the content of all tables, not over the name; the same on every machine."""
        digest = hashlib.sha256()
        for label, frame in (
            ("interactions", self.interactions),
            ("items", self.items),
            ("users", self.users),
            ("reviews", self.reviews),
        ):
            if frame is None:
                continue
            digest.update(f"{label} {[(name, str(dtype)) for name, dtype in frame.schema.items()]}\n".encode())
            buffer = io.BytesIO()
            frame.write_ndjson(buffer)
            digest.update(buffer.getvalue())
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Counts, density, span of time and how much text there is, as plain values."""
        return describe(self.interactions, self.items, self.users, self.reviews, self.name)


def table_of(given: Any, kind: str) -> Table:
    """A polars frame, or whatever ``polars.DataFrame`` accepts, as a table to be validated.

    Raises
    ------
    DataError
        It cannot be read as a frame.
    """
    try:
        frame = given if isinstance(given, pl.DataFrame) else pl.DataFrame(given)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(f"the {kind} cannot be read as a polars DataFrame: {error}") from error
    rows = pl.Series("row", range(1, frame.height + 1), dtype=pl.UInt32)
    return Table(frame, rows, f"{kind} frame", True, frozenset(), Problems())


def _build(
    interactions: Table,
    items: Table,
    users: Table | None,
    reviews: Table | None,
    on_bad_rows: str,
    rejects: str | Path | None,
    name: str,
) -> Dataset:
    if on_bad_rows not in ("raise", "skip"):
        raise SettingsError(f"on_bad_rows is {on_bad_rows!r}; use 'raise' or 'skip'.")
    problems = Problems()
    catalogue = check_items(items, problems)
    events, origin = check_interactions(interactions, problems)
    item_ids, event_items = same_id_type(catalogue["item_id"], events["item_id"], "item_id")
    catalogue, events = catalogue.with_columns(item_ids), events.with_columns(event_items)
    people = None if users is None else check_users(users, problems)
    texts = None
    if people is not None:
        event_users, people_ids = same_id_type(events["user_id"], people["user_id"], "user_id")
        events, people = events.with_columns(event_users), people.with_columns(people_ids)
    if reviews is not None:
        texts, review_origin = check_reviews(reviews, problems)
        event_users, review_users = same_id_type(events["user_id"], texts["user_id"], "user_id")
        item_ids, review_items = same_id_type(catalogue["item_id"], texts["item_id"], "item_id")
        if item_ids.dtype != event_items.dtype or (people is not None and event_users.dtype != people["user_id"].dtype):
            raise DataError(
                f"{reviews.file}: the ids are of another type than in the other tables. Give them one type."
            )
        events, texts = events.with_columns(event_users), texts.with_columns(review_users, review_items)
        texts = reject_unknown_items(texts, review_origin, item_ids, problems)
    events = reject_unknown_items(events, origin, catalogue["item_id"], problems)
    problems.settle(on_bad_rows, None if rejects is None else Path(rejects))
    return Dataset(events, catalogue, people, texts, name)


def load_items(
    path: str | Path | TableAddress, on_bad_rows: OnBadRows = "raise", rejects: str | Path | None = None
) -> pl.DataFrame:
    """Read and validate an items table on its own, such as items that are new since training.

    Raises
    ------
    DataError
        As in `Dataset.from_files`.
    """
    problems = Problems()
    frame = check_items(read_table(path), problems)
    problems.settle(on_bad_rows, None if rejects is None else Path(rejects))
    return frame


def load_interactions(
    path: str | Path | TableAddress,
    item_ids: pl.Series | None = None,
    on_bad_rows: OnBadRows = "raise",
    rejects: str | Path | None = None,
) -> pl.DataFrame:
    """Read and validate an interactions table on its own, such as histories of users who may be new.

    Parameters
    ----------
    item_ids
        The catalogue's ids: the ids of the table take their type, and other items are reported. By
        default no item is unknown.

    Raises
    ------
    DataError
        As in `Dataset.from_files`.
    """
    problems = Problems()
    frame, origin = check_interactions(read_table(path), problems)
    if item_ids is not None:
        item_ids, found = same_id_type(item_ids.alias("item_id"), frame["item_id"], "item_id")
        frame = reject_unknown_items(frame.with_columns(found), origin, item_ids, problems)
    problems.settle(on_bad_rows, None if rejects is None else Path(rejects))
    return frame
