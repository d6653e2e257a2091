"""The checks of row-level security for ``manage.py check --database``. They only read PostgreSQL's catalog."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Info
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Model

from dovetail_tenancy.isolation.fields import tenant_tables
from dovetail_tenancy.isolation.scope import Scope, override_database_scope
from dovetail_tenancy.row_security import policies

ENGINE = "dovetail_tenancy.backends.postgresql"


class Table(NamedTuple):
    model: type[Model]
    enabled: bool
    forced: bool
    has_policy: bool
    has_bypass: bool
    policies: int
    bypass_may_read: bool

    @property
    def untouched(self) -> bool:
        return not self.enabled and not self.has_policy

    def __str__(self) -> str:
        extent = "and forced" if self.forced else "but not for the table's owner"
        return f"{f'on {extent}' if self.enabled else 'off'}, {self.policies} policies"


class Role(NamedTuple):
    name: str
    superuser: bool
    bypasses: bool
    inherits: bool
    bypass_role_exists: bool
    may_become_it: bool


def check_databases(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    # migrate runs the checks as the owner of the tables, who may see every row. They are for the service's role.
    if sys.argv[1:2] == ["migrate"]:
        return []
    return [message for alias in databases or () for message in check_database(alias)]


def check_database(alias: str) -> list[CheckMessage]:
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return []
    # As the role that connects, whichever scope is active in this process.
    with override_database_scope(Scope()), connection.cursor() as cursor:
        tables = list(read_tables(alias, cursor))
        cursor.execute(policies.ROLE, {"role": policies.bypass_role()})
        role = Role(*cursor.fetchone())
        cursor.execute("SELECT pg_backend_pid()")
        pooled = cursor.fetchone()[0] != connection.connection.info.backend_pid
    messages = list(_off(alias, tables))
    if any(not table.untouched for table in tables):
        messages += [*_engine(connection, pooled), *_role(alias, role), *_incomplete(tables)]
    return messages


def read_tables(alias: str, cursor: CursorWrapper) -> Iterator[Table]:
    names = {"organization": policies.ORGANIZATION_POLICY, "bypass": policies.BYPASS_POLICY}
    for model in tenant_tables(alias):
        table = policies.quoted(model._meta.db_table)
        cursor.execute(policies.TABLE, {"table": table, "role": policies.bypass_role(), **names})
        if row := cursor.fetchone():
            yield Table(model, *row)


def _off(alias: str, tables: list[Table]) -> Iterator[CheckMessage]:
    names = ", ".join(table.model._meta.label for table in tables if table.untouched)
    if names:
        yield Info(
            f"Row security is off in database {alias!r} for {names}: raw SQL sees every organization's rows.",
            hint="Add dovetail_tenancy.operations.EnableRowSecurity to a migration of each, or silence this check.",
            id="dovetail_tenancy.I001",
        )


def _role(alias: str, role: Role) -> Iterator[CheckMessage]:
    name = policies.bypass_role()
    if role.superuser or role.bypasses or role.inherits:
        inherits = "has BYPASSRLS" if role.bypasses else f"inherits the rights of {name!r}"
        reason = "is a superuser" if role.superuser else inherits
        yield Error(
            f"PostgreSQL shows every organization's rows to {role.name!r}, the role that connects to database "
            f"{alias!r}: it {reason}.",
            hint="Run the service as a role without these rights that is granted the bypass role through a NOINHERIT "
            'role. The README of dovetail-tenancy has the statements, under "Roles".',
            id="dovetail_tenancy.E011",
        )
    if not role.bypass_role_exists or not role.may_become_it:
        problem = f"{role.name!r} may not become it" if role.bypass_role_exists else "it does not exist"
        yield Error(
            f"unscoped() requires the role {name!r} in database {alias!r}, but {problem}.",
            hint='See "Roles" in the README of dovetail-tenancy. TENANCY_BYPASS_ROLE sets another name.',
            id="dovetail_tenancy.E014",
        )


def _engine(connection: BaseDatabaseWrapper, pooled: bool) -> Iterator[CheckMessage]:
    session = getattr(connection, "row_security", None)
    if session is None:
        yield Error(
            f"Row security is on in database {connection.alias!r}, but its ENGINE is "
            f"{connection.settings_dict['ENGINE']!r}, which does not send the active organization. PostgreSQL shows no "
            "rows.",
            hint=f"Set ENGINE to {ENGINE!r}, or reverse the EnableRowSecurity migrations.",
            id="dovetail_tenancy.E012",
        )
    elif pooled and session.mode == "session":
        yield Error(
            f"Database {connection.alias!r} is behind a connection pooler, but the backend is in session mode. If the "
            "pooler gives each transaction another server session, clients see the rows of other organizations.",
            hint="Set DATABASES[…]['OPTIONS']['tenancy_mode'] to 'transaction'. Silence this check if the pooler keeps "
            "one server session for each client and resets it afterwards.",
            id="dovetail_tenancy.E013",
        )


def _incomplete(tables: list[Table]) -> Iterator[CheckMessage]:
    name = policies.bypass_role()
    for table in tables:
        problems = {
            "row security is not enabled": not table.enabled,
            "it is not forced, so the table's owner sees every row": table.enabled and not table.forced,
            f"the policy {policies.ORGANIZATION_POLICY} is missing": not table.has_policy,
            f"the policy {policies.BYPASS_POLICY} for the role {name!r} is missing": not table.has_bypass,
            f"the role {name!r} may not read the table": table.has_bypass and not table.bypass_may_read,
        }
        text = "; ".join(problem for problem, holds in problems.items() if holds)
        if text and not table.untouched:
            yield Error(
                f"The row security of {table.model._meta.label} differs from what EnableRowSecurity created: {text}.",
                hint="Reverse its EnableRowSecurity migration and apply it again, or undo the manual change.",
                obj=table.model,
                id="dovetail_tenancy.E015",
            )
