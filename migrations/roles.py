"""The roles services work under. They own nothing, have no DDL, and reach one schema only.

A login role (`fangxian_testing`) can do nothing but become, for one transaction, one of its service's group roles
(`fangxian_testing_staff`, …). Its scope is empty by default: a forgotten scope sees nothing.
"""

from collections.abc import Iterable

from alembic import op
from sqlalchemy import Connection, text

from shared.actors import DatabaseRole
from shared.db import AUDIT_ROLES, GROUP_ROLES, group_of
from shared.regions import NOTHING
from shared.settings import Service, login_of

EMPTY_SCOPE = {
    "scope.low": NOTHING[0],
    "scope.high": NOTHING[1],
    "scope.residents": "{}",
    "scope.party": "",
}

IN_RANGE = "region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high'))"
IS_SELF = "{column} = ANY ((SELECT current_setting('scope.residents'))::uuid[])"
IS_PARTY = "{column} = (SELECT current_setting('scope.party'))"


def make_roles(connection: Connection, service: Service, password: str) -> None:
    """Make or mend the roles of one service. Safe to repeat."""
    login = login_of(service)
    if not _exists(connection, login):
        connection.execute(text(f"CREATE ROLE {login} NOINHERIT NOCREATEDB NOCREATEROLE"))
    quoted = password.replace("'", "''")
    connection.execute(text(f"ALTER ROLE {login} LOGIN PASSWORD '{quoted}'"))
    for name, value in EMPTY_SCOPE.items():
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
