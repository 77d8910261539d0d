"""SQL scripts: any number of statements in one round trip.

SQLAlchemy prepares what it sends, and a prepared statement is a single one. The driver's simple protocol takes a whole
script as it stands, so nothing here needs to know where a statement ends.
"""

from pathlib import Path
from typing import Any

import asyncpg
from alembic import op
from sqlalchemy import Connection

HERE = Path(__file__).parent


def run_script(path: str, **names: str) -> None:
    """Run a file of this package, in the transaction of the version that calls it.

    `path` is relative to `migrations/`. `names` says what stands for each `{name}` in the file. An error of PostgreSQL
    has a note that says in which line.
    """
    script = (HERE / path).read_text(encoding="utf-8")
    for name, value in names.items():
        script = script.replace(f"{{{name}}}", value)
    try:
        execute_script(op.get_bind(), script)
    except asyncpg.PostgresError as error:
        if error.position:
            error.add_note(f"migrations/{path}, line {script.count(chr(10), 0, int(error.position)) + 1}")
        raise


def execute_script(connection: Connection, script: str) -> None:
    """Run statements on a connection, in its transaction. Raises the driver's own errors, `asyncpg.PostgresError`."""
    # SQLAlchemy sends BEGIN together with its own first statement. Without one the script would commit by itself.
    connection.exec_driver_sql("SELECT")
    driver: Any = connection.connection.dbapi_connection
    driver.run_async(lambda asyncpg_connection: asyncpg_connection.execute(script))
