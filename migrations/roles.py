"""The roles services work under. They own nothing, have no DDL, and reach one schema only.

A login role (`fangxian_testing`) can do nothing but become, for one transaction, one of its service's group roles
(`fangxian_testing_staff`, …). Its scope is empty by default: a forgotten scope sees nothing.
"""

from collections.abc import Iterable

from alembic import op
from sqlalchemy import Connection, text

from shared.actors import DatabaseRole
from shared.db import AUDIT_ROLES, EMPTY_SCOPE, GROUP_ROLES, group_of
from shared.settings import Service, login_of

MAY_SET = text("SELECT has_parameter_privilege(:name, 'SET')")
"""Whether the owner may set it for others: a superuser may, or who was granted it."""

SEE_THE_CLUSTER = (
    "CREATE SCHEMA IF NOT EXISTS cluster",
    # The processes of others are closed to who is no superuser, and one of them may hold up every feed: so services may
    # ask for this one figure, and the owner looks for them.
    """
    CREATE OR REPLACE FUNCTION cluster.oldest_transaction_seconds() RETURNS double precision
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::double precision
        FROM pg_stat_activity WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()
    $$
    """,
    "REVOKE ALL ON FUNCTION cluster.oldest_transaction_seconds FROM PUBLIC",
)

IN_RANGE = "region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high'))"
IS_SELF = "{column} = ANY ((SELECT current_setting('scope.residents'))::uuid[])"
# Nobody's party is the empty text, with which rows say that no machine's they are.
PARTY = "(SELECT nullif(current_setting('scope.party'), ''))"
IS_PARTY = f"{{column}} = {PARTY}"


def make_roles(connection: Connection, service: Service, password: str) -> None:
    """Make or mend the roles of one service. Safe to repeat."""
    login = login_of(service)
    if not _exists(connection, login):
        connection.execute(text(f"CREATE ROLE {login} NOINHERIT NOCREATEDB NOCREATEROLE"))
    quoted = password.replace("'", "''")
    connection.execute(text(f"ALTER ROLE {login} LOGIN PASSWORD '{quoted}'"))
    for name, value in EMPTY_SCOPE.items():
        if connection.execute(MAY_SET, {"name": name}).scalar():  # else the processes' own connections begin with it
            connection.execute(text(f"ALTER ROLE {login} SET {name} = '{value}'"))
    for role in (*GROUP_ROLES, *AUDIT_ROLES):
        group = group_of(service, role)
        if not _exists(connection, group):
            connection.execute(text(f"CREATE ROLE {group} NOLOGIN"))
        connection.execute(text(f"GRANT {group} TO {login} WITH INHERIT FALSE, SET TRUE"))
    database = connection.execute(text("SELECT quote_ident(current_database())")).scalar_one()
    connection.execute(text(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC"))
    connection.execute(text(f"GRANT CONNECT ON DATABASE {database} TO {login}"))
    connection.execute(text("REVOKE ALL ON SCHEMA public FROM PUBLIC"))
    for statement in SEE_THE_CLUSTER:
        connection.execute(text(statement))
    system = group_of(service, "system")
    connection.execute(text(f"GRANT USAGE ON SCHEMA cluster TO {system}"))
    connection.execute(text(f"GRANT EXECUTE ON FUNCTION cluster.oldest_transaction_seconds TO {system}"))


def open_schema(service: Service) -> None:
    """Let the group roles of a service into its schema. First line of its first migration."""
    for role in GROUP_ROLES:
        op.execute(f"GRANT USAGE ON SCHEMA {service} TO {group_of(service, role)}")


def protect(
    service: Service,
    table: str,
    *,
    staff: str = "",
    resident: str = "",
    machine: str = "",
    door: str = "",
    system: str = "SELECT, INSERT, UPDATE, DELETE",
    resident_column: str = "resident_id",
    machine_column: str = "party",
) -> None:
    """Switch on row-level security for a table with regions, and say who may do what to which rows.

    Each argument is the list of privileges of one group role (`"SELECT, INSERT"`; none by default). Staff, system and
    doors reach the rows within their range, residents those of themselves and their dependants, machines their own
    party's.
    """
    op.execute(f"ALTER TABLE {service}.{table} ENABLE ROW LEVEL SECURITY")
    rules: Iterable[tuple[DatabaseRole, str, str]] = (
        ("staff", staff, IN_RANGE),
        ("system", system, IN_RANGE),
        ("door", door, IN_RANGE),
        ("resident", resident, IS_SELF.format(column=resident_column)),
        ("machine", machine, IS_PARTY.format(column=machine_column)),
    )
    for role, privileges, condition in rules:
        if privileges:
            group = group_of(service, role)
            op.execute(f"GRANT {privileges} ON {service}.{table} TO {group}")
            op.execute(f"CREATE POLICY {role} ON {service}.{table} TO {group} USING ({condition})")


def allow(service: Service, table: str, privileges: str, *roles: DatabaseRole) -> None:
    """Give privileges on a table that has no rows of people to scope."""
    for role in roles or GROUP_ROLES:
        op.execute(f"GRANT {privileges} ON {service}.{table} TO {group_of(service, role)}")


def _exists(connection: Connection, role: str) -> bool:
    return bool(connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}).scalar())
