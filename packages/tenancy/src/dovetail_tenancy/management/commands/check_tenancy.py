from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.checks import ERROR, CheckMessage, Tags, run_checks
from django.core.management import CommandError, CommandParser
from django.core.management.base import BaseCommand
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.models import Model

from dovetail_tenancy.isolation.tenant_model import TenantModel

ROW_SECURITY = """
SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid)
FROM pg_class c WHERE c.relname = ANY(%s) AND pg_table_is_visible(c.oid)
"""


class Command(BaseCommand):
    help = "Report which tables are tenant tables, and what of their isolation is missing."
    requires_system_checks = ()  # it runs the checks that it reports

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, choices=list(connections), help="the database")

    def handle(self, *args: Any, database: str, **options: Any) -> None:
        models = [model for model in apps.get_models() if _is_tenant_model(model, database)]
        messages = _messages(database)
        security = _row_security(database, [model._meta.db_table for model in models])
        for model in models:
            table = model._meta.db_table
            self.stdout.write(f"{model._meta.label} (table {table})")
            self.stdout.write(f"  manager {_name(model._default_manager)}, base manager {_name(model._base_manager)}")
            if security is not None:
                self.stdout.write(f"  row security: {security.get(table, 'no such table')}")
            own = [_line(message) for message in messages if _is_about(message, model)]
            for line in own or ["managers, foreign keys, uniqueness, index: ok"]:
                self.stdout.write(f"  {line}")
        for message in messages:
            if not any(_is_about(message, model) for model in models):
                self.stdout.write(_line(message))
        errors = sum(message.level >= ERROR for message in messages)
        self.stdout.write(f"{len(models)} tenant tables, {len(messages)} messages, {errors} errors")
        if errors:
            raise CommandError(f"{errors} errors in the isolation of tenants.")


def _is_tenant_model(model: type[Model], database: str) -> bool:
    return issubclass(model, TenantModel) and not model._meta.proxy and router.allow_migrate_model(database, model)


def _messages(database: str) -> list[CheckMessage]:
    """Return this package's messages about models and the database."""
    messages = [*run_checks(tags=[Tags.models]), *run_checks(tags=[Tags.database], databases=[database])]
    return [message for message in messages if str(message.id).startswith("dovetail_tenancy.")]


def _is_about(message: CheckMessage, model: type[Model]) -> bool:
    about = message.obj
    return about is model or getattr(about, "model", None) is model


def _line(message: CheckMessage) -> str:
    return f"{message.id}: {message.msg}" + (f" {message.hint}" if message.hint else "")


def _name(manager: Any) -> str:
    return type(manager).__name__


def _row_security(database: str, tables: list[str]) -> dict[str, str] | None:
    connection = connections[database]
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute(ROW_SECURITY, [tables])
        return dict(_states(cursor.fetchall()))


def _states(rows: list[tuple[str, bool, bool, int]]) -> Iterator[tuple[str, str]]:
    for table, on, forced, policies in rows:
        state = "on and forced" if on and forced else "on, but not for the table's owner" if on else "off"
        yield table, f"{state}, {policies} policies"
