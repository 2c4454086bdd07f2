"""Runs migrations on the connection that `flanrec.serving.store.migrating` hands over; alembic runs this file."""

from alembic import context

from flanrec.serving.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot alter most columns: the table is made anew and its rows are copied.
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
