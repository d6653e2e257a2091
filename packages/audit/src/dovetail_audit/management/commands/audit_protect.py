from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from dovetail_audit.entries.databases import owner as owner_alias
from dovetail_audit.protection.locks import TableInUse
from dovetail_audit.protection.roles import execute_all, statements


class Command(BaseCommand):
    help = (
        "Print the statements that leave the application's database role only the rights to read and add audit "
        "entries, and to erase personal data. With --execute, run them on AUDIT_OWNER_ALIAS."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--role", required=True, help="The role of the application; on MySQL, 'name@host'.")
        parser.add_argument("--owner", default="", help="The role that is to own the tables (PostgreSQL).")
        parser.add_argument("--eraser", default="", help="A role of its own for audit_erase (PostgreSQL).")
        parser.add_argument("--execute", action="store_true", help="Run the statements.")

    def handle(self, *args: Any, role: str, owner: str, eraser: str, execute: bool, **options: Any) -> None:
        connection = connections[owner_alias()]
        if connection.vendor == "postgresql" and owner in ("", role):
            raise CommandError("--owner must name another role than --role: an owner can disable the triggers.")
        try:
            lines = list(statements(connection, role=role, owner=owner, eraser=eraser))
        except (NotImplementedError, ValueError) as error:
            raise CommandError(str(error)) from error
        if not execute:
            self.stdout.write("\n".join(f"{line};" for line in lines))
            return
        try:
            execute_all(connection, lines)
        except TableInUse as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{len(lines)} statements run on {connection.alias!r}.")
