from __future__ import annotations

from typing import Any

from django.core.checks import ERROR, CheckMessage, Tags, run_checks
from django.core.management import CommandError, CommandParser
from django.core.management.base import BaseCommand
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model

from dovetail_tenancy.isolation.fields import tenant_tables
from dovetail_tenancy.row_security.checks import Table, read_tables


class Command(BaseCommand):
    help = "Report the tenant tables and the problems of their isolation."
    requires_system_checks = ()  # it runs the checks that it reports

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, choices=list(connections), help="Database to check."
        )

    def handle(self, *args: Any, database: str, **options: Any) -> None:
        models = list(tenant_tables(database))
        reported = [*run_checks(tags=[Tags.models]), *run_checks(tags=[Tags.database], databases=[database])]
        messages = [message for message in reported if str(message.id).startswith("dovetail_tenancy.")]
        security: dict[type[Model], Table] | None = None
        if connections[database].vendor == "postgresql":
            with connections[database].cursor() as cursor:
                security = {table.model: table for table in read_tables(database, cursor)}
        for model in models:
            self.stdout.write(f"{model._meta.label} (table {model._meta.db_table})")
            managers = [type(manager).__name__ for manager in (model._default_manager, model._base_manager)]
            self.stdout.write("  manager {}, base manager {}".format(*managers))
            if security is not None:
                self.stdout.write(f"  row security: {security.get(model, 'no such table')}")
            own = [_line(message) for message in messages if _is_about(message, model)]
            for line in own or ["managers, foreign keys, uniqueness, index: ok"]:
                self.stdout.write(f"  {line}")
        for message in messages:
            if not any(_is_about(message, model) for model in models):
                self.stdout.write(_line(message))
        errors = sum(message.level >= ERROR for message in messages)
        self.stdout.write(f"{len(models)} tenant tables, {len(messages)} messages, {errors} errors")
        if errors:
            raise CommandError(f"The checks of tenant isolation reported {errors} errors.")


def _is_about(message: CheckMessage, model: type[Model]) -> bool:
    return message.obj is model or getattr(message.obj, "model", None) is model


def _line(message: CheckMessage) -> str:
    return f"{message.id}: {message.msg}" + (f" {message.hint}" if message.hint else "")
