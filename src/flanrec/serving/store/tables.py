"""The tables of the store.

Ids are texts. In PostgreSQL they are compared by code point, as SQLite does, so that pages come in one order.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s"}
)

Id = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers rows by itself only where the column is its INTEGER PRIMARY KEY.
Number = BigInteger().with_variant(Integer(), "sqlite")

users = Table(
    "users",
    metadata,
    Column("user_id", Id, primary_key=True),
    Column("attributes", JSON, nullable=False),
)

items = Table(
    "items",
    metadata,
    Column("item_id", Id, primary_key=True),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("category", JSON, nullable=False),
    Column("year", Integer),
    Column("attributes", JSON, nullable=False),
    # A deleted item keeps its row: the model knows it, and it must not come back with the next model.
    Column("deleted", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
)

events = Table(
    "events",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("user_id", Id, nullable=False),
    Column("item_id", Id, nullable=False, index=True),
    Column("timestamp", Float(53)),
    Column("event", Text, nullable=False),
    Column("rating", Float(53)),
    Column("weight", Float(53), nullable=False),
    Column("feedback_id", Text),
    Column("request_id", Text, index=True),
    UniqueConstraint("user_id", "timestamp", "item_id", "event"),
    UniqueConstraint("feedback_id"),
)

# What a user wrote of an item; the newest text counts.
reviews = Table(
    "reviews",
    metadata,
    Column("user_id", Id, primary_key=True),
    Column("item_id", Id, primary_key=True),
    Column("text", Text, nullable=False),
)

shown = Table(
    "shown",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("user_id", Id),
    Column("moment", Float(53), nullable=False, index=True),
    Column("model", Text, nullable=False),
    Column("arm", Text, nullable=False),
    Column("item_ids", JSON, nullable=False),
    Column("fallback", Text, nullable=False),
    Index("ix_shown_user_id_moment", "user_id", "moment"),
)

# Users who were deleted: a model that was fitted on their events must not bring them back.
forgotten = Table("forgotten", metadata, Column("user_id", Id, primary_key=True))

# The data of which models the store has taken in.
imported = Table(
    "imported", metadata, Column("model", Text, primary_key=True), Column("moment", Float(53), nullable=False)
)

# Grows with every change of items, so that every process sees that there is one.
revisions = Table(
    "revisions", metadata, Column("name", Text, primary_key=True), Column("revision", BigInteger, nullable=False)
)

keys = Table(
    "keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("per_minute", Integer, nullable=False),
    Column("created", Float(53), nullable=False),
    Column("revoked", Boolean, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("moment", Float(53), nullable=False, index=True),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("request_id", Text, nullable=False),
)

# Items for people to review. Of a kind and an item at most one case is open.
cases = Table(
    "cases",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("item_id", Id, nullable=False),
    Column("user_id", Id, index=True),
    Column("request_id", Text),
    Column("reason", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("opened", Float(53), nullable=False),
    Column("state", Text, nullable=False),
    Column("decided", Float(53)),
    Column("decided_by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Index("ix_cases_state_number", "state", "number"),
    Index("ix_cases_item_id_kind", "item_id", "kind"),
    # The condition is a literal: PostgreSQL compares it with that of an upsert, which must not be a parameter either.
    Index(
        "uq_cases_open", "item_id", "kind", unique=True, sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
)  # fmt: skip
