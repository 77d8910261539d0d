"""Alembic's entry: one service's history, on the connection it is given."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema=context.config.attributes["service"],
    include_schemas=True,
)
with context.begin_transaction():
    context.run_migrations()
