"""The roles services work under. They own nothing, have no DDL, and reach one schema only.

A login role (`fangxian_testing`) can do nothing but become, for one transaction, one of its service's group roles
(`fangxian_testing_staff`, …). Its scope is empty by default, so that a forgotten scope sees nothing.

Roles belong to the cluster and not to a database, so no version of a schema makes them: `make_roles` does, at every
migration, and a database that is restored on another cluster finds them there.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, text

from migrations.scripts import execute_script
from shared.core.settings import SERVICES, Service, login_of
from shared.database.engine import AUDIT_ROLES, EMPTY_SCOPE, GROUP_ROLES, group_of

# Names and passwords are quoted by the server itself. Only a superuser, or who was granted it, may set a parameter for
# another role; without that the processes' own connections begin with the empty scope.
FACTS = text("""
    SELECT quote_ident(current_database()) AS database,
        ARRAY(SELECT rolname::text FROM pg_roles WHERE starts_with(rolname, 'fangxian_')) AS roles,
        ARRAY(
            SELECT name FROM unnest(CAST(:parameters AS text[])) AS name WHERE has_parameter_privilege(name, 'SET')
        ) AS parameters,
        ARRAY(
            SELECT quote_literal(password)
            FROM unnest(CAST(:passwords AS text[])) WITH ORDINALITY AS given (password, place) ORDER BY place
        ) AS passwords
""")

# Only a superuser sees the processes of others, and one of them may hold up every feed. So services may read this one
# figure, and the owner looks for the process.
CLUSTER = """
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA IF NOT EXISTS cluster;
CREATE OR REPLACE FUNCTION cluster.oldest_transaction_seconds() RETURNS double precision
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::double precision
    FROM pg_stat_activity WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()
$$;
REVOKE ALL ON FUNCTION cluster.oldest_transaction_seconds FROM PUBLIC;
"""


def make_roles(connection: Connection, passwords: Mapping[str, str]) -> None:
    """Make or mend the roles of all services. Safe to repeat."""
    given = {"parameters": list(EMPTY_SCOPE), "passwords": [passwords[service] for service in SERVICES]}
    facts = connection.execute(FACTS, given).one()
    statements = [
        statement
        for service, password in zip(SERVICES, facts.passwords, strict=True)
        for statement in _roles_of(service, password, facts)
    ]
    execute_script(connection, CLUSTER.format(database=facts.database) + ";\n".join(statements))


def _roles_of(service: Service, password: str, facts: Any) -> Iterator[str]:
    login, system = login_of(service), group_of(service, "system")
    if login not in facts.roles:
        yield f"CREATE ROLE {login} NOINHERIT NOCREATEDB NOCREATEROLE"
    yield f"ALTER ROLE {login} LOGIN PASSWORD {password}"
    for name in facts.parameters:
        yield f"ALTER ROLE {login} SET {name} = '{EMPTY_SCOPE[name]}'"
    for role in (*GROUP_ROLES, *AUDIT_ROLES):
        group = group_of(service, role)
        if group not in facts.roles:
            yield f"CREATE ROLE {group} NOLOGIN"
        yield f"GRANT {group} TO {login} WITH INHERIT FALSE, SET TRUE"
    yield f"GRANT CONNECT ON DATABASE {facts.database} TO {login}"
    yield f"GRANT USAGE ON SCHEMA cluster TO {system}"
    yield f"GRANT EXECUTE ON FUNCTION cluster.oldest_transaction_seconds TO {system}"
