"""The checks of row-level security for ``manage.py check --database``. They read PostgreSQL's catalog only."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Info
from django.db import connections, router

from dovetail_tenancy.isolation.database_scope import override_database_scope
from dovetail_tenancy.isolation.scope import Scope
from dovetail_tenancy.isolation.tenant_model import TenantModel
from dovetail_tenancy.row_security import policies

ENGINE = "dovetail_tenancy.backends.postgresql"


@dataclass(frozen=True, slots=True)
class Table:
    """The state of a tenant model's table in the catalog."""

    model: Any
    enabled: bool
    forced: bool
    has_policy: bool
    has_bypass: bool
    bypass_may_read: bool

    @property
    def untouched(self) -> bool:
        return not self.enabled and not self.has_policy


@dataclass(frozen=True, slots=True)
class Role:
    name: str
    superuser: bool
    bypasses: bool
    inherits: bool
    bypass_role_exists: bool
    may_become_it: bool


def check_databases(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check the databases that ``check --database`` names."""
    # migrate runs the checks as the role that owns the tables and may see every row. They are for the service's role.
    if sys.argv[1:2] == ["migrate"]:
        return []
    return [message for alias in databases or () for message in check_database(alias)]


def check_database(alias: str) -> list[CheckMessage]:
    """Return the messages of one database; none if it is not PostgreSQL or has no tenant model."""
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return []
    # As the role that connects, whatever scope is active in this process.
    with override_database_scope(Scope()), connection.cursor() as cursor:
        tables = list(_tables(alias, cursor))
        cursor.execute(policies.ROLE, {"role": policies.bypass_role()})
        role = Role(*cursor.fetchone())
        cursor.execute("SELECT pg_backend_pid()")
        pooled = cursor.fetchone()[0] != connection.connection.info.backend_pid
    messages = list(_off(alias, tables))
    if any(not table.untouched for table in tables):
        messages += [*_engine(connection, pooled), *_role(alias, role), *_bypass(alias, role), *_incomplete(tables)]
    return messages


def _tables(alias: str, cursor: Any) -> Iterator[Table]:
    names = {"organization": policies.ORGANIZATION_POLICY, "bypass": policies.BYPASS_POLICY}
    for model in apps.get_models():
        if issubclass(model, TenantModel) and router.allow_migrate_model(alias, model) and not model._meta.proxy:
            table = policies.quoted(model._meta.db_table)
            cursor.execute(policies.TABLE, {"table": table, "role": policies.bypass_role(), **names})
            # No row: the table is not migrated yet.
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
    reasons = {
        "is a superuser": role.superuser,
        "has BYPASSRLS": role.bypasses,
        f"has the rights of {policies.bypass_role()!r} without becoming it": role.inherits,
    }
    # One reason is enough; a superuser has the rights of every role as well.
    for reason in [reason for reason, holds in reasons.items() if holds][:1]:
        yield Error(
            f"PostgreSQL shows every organization's rows to {role.name!r}, the role that database {alias!r} is "
            f"connected with: it {reason}.",
            hint="Connect the running service as a role that is neither, and that is granted the bypass role through a "
            'NOINHERIT role. The README of dovetail-tenancy has the statements, under "Roles".',
            id="dovetail_tenancy.E011",
        )


def _engine(connection: Any, pooled: bool) -> Iterator[CheckMessage]:
    session = getattr(connection, "row_security", None)
    if session is None:
        yield Error(
            f"Row security is on in database {connection.alias!r}, and its ENGINE is "
            f"{connection.settings_dict['ENGINE']!r}: nothing says which organization is active, and no row is shown.",
            hint=f"Set ENGINE to {ENGINE!r}, or migrate EnableRowSecurity back.",
            id="dovetail_tenancy.E012",
        )
    elif pooled and session.mode == "session":
        yield Error(
            f"A connection pooler stands before database {connection.alias!r}, and the backend is in session mode: if "
            "it gives each transaction another server session, one client is shown another's organization.",
            hint="Set DATABASES[…]['OPTIONS']['tenancy_mode'] to 'transaction'. Silence this check if the pooler keeps "
            "a server session for each client and resets it between two.",
            id="dovetail_tenancy.E013",
        )


def _bypass(alias: str, role: Role) -> Iterator[CheckMessage]:
    name = policies.bypass_role()
    if not role.bypass_role_exists or not role.may_become_it:
        what = f"{role.name!r} may not become it" if role.bypass_role_exists else "it does not exist"
        yield Error(
            f"unscoped() needs the role {name!r} in database {alias!r}, and {what}.",
            hint='The README of dovetail-tenancy has the statements, under "Roles"; another name: TENANCY_BYPASS_ROLE.',
            id="dovetail_tenancy.E014",
        )


def _incomplete(tables: list[Table]) -> Iterator[CheckMessage]:
    name = policies.bypass_role()
    for table in tables:
        missing = {
            "row security is not enabled": not table.enabled,
            "it is not forced, so that the table's owner is shown every row": table.enabled and not table.forced,
            f"the policy {policies.ORGANIZATION_POLICY} is missing": not table.has_policy,
            f"there is no policy {policies.BYPASS_POLICY} for the role {name!r}": not table.has_bypass,
            f"the role {name!r} may not read the table": table.has_bypass and not table.bypass_may_read,
        }
        what = "; ".join(text for text, holds in missing.items() if holds)
        if what and not table.untouched:
            yield Error(
                f"The row security of {table.model._meta.label} is not as EnableRowSecurity left it: {what}.",
                hint="Migrate its EnableRowSecurity back and forth again, or undo what was changed by hand.",
                obj=table.model,
                id="dovetail_tenancy.E015",
            )
