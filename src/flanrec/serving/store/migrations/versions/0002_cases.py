"""Cases for review."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "cases",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("item_id", _ID, nullable=False),
        sa.Column("user_id", _ID),
        sa.Column("request_id", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("opened", sa.Float(53), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("decided", sa.Float(53)),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_index("ix_cases_user_id", "cases", ["user_id"])
    op.create_index("ix_cases_state_number", "cases", ["state", "number"])
    op.create_index("ix_cases_item_id_kind", "cases", ["item_id", "kind"])
    still = sa.text("state = 'open'")
    op.create_index(
        "uq_cases_open", "cases", ["item_id", "kind"], unique=True, sqlite_where=still, postgresql_where=still
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("cases")
