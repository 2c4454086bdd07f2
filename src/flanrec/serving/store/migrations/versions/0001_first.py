"""Users, items, events, recommendations shown, keys and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "users", sa.Column("user_id", _ID, primary_key=True), sa.Column("attributes", sa.JSON, nullable=False)
    )
    op.create_table(
        "items",
        sa.Column("item_id", _ID, primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("category", sa.JSON, nullable=False),
        sa.Column("year", sa.Integer),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_items_revision", "items", ["revision"])
    op.create_table(
        "events",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("item_id", _ID, nullable=False),
        sa.Column("timestamp", sa.Float(53)),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("rating", sa.Float(53)),
        sa.Column("weight", sa.Float(53), nullable=False),
        sa.Column("feedback_id", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.UniqueConstraint(
            "user_id", "timestamp", "item_id", "event", name="uq_events_user_id_timestamp_item_id_event"
        ),
        sa.UniqueConstraint("feedback_id", name="uq_events_feedback_id"),
    )
    op.create_index("ix_events_item_id", "events", ["item_id"])
    op.create_index("ix_events_request_id", "events", ["request_id"])
    op.create_table(
        "reviews",
        sa.Column("user_id", _ID, primary_key=True),
        sa.Column("item_id", _ID, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "shown",
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("user_id", _ID),
        sa.Column("moment", sa.Float(53), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("arm", sa.Text, nullable=False),
        sa.Column("item_ids", sa.JSON, nullable=False),
        sa.Column("fallback", sa.Text, nullable=False),
    )
    op.create_index("ix_shown_moment", "shown", ["moment"])
    op.create_index("ix_shown_user_id_moment", "shown", ["user_id", "moment"])
    op.create_table("forgotten", sa.Column("user_id", _ID, primary_key=True))
    op.create_table(
        "imported", sa.Column("model", sa.Text, primary_key=True), sa.Column("moment", sa.Float(53), nullable=False)
    )
    op.create_table(
        "revisions", sa.Column("name", sa.Text, primary_key=True), sa.Column("revision", sa.BigInteger, nullable=False)
    )
    op.create_table(
        "keys",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("per_minute", sa.Integer, nullable=False),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("revoked", sa.Boolean, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("moment", sa.Float(53), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
    )
    op.create_index("ix_audit_moment", "audit", ["moment"])


def downgrade() -> None:
    """Drop the tables."""
    for name in ("audit", "keys", "revisions", "imported", "forgotten", "shown", "reviews", "events", "items", "users"):
        op.drop_table(name)
