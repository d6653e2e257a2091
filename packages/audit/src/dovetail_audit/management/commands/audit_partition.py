from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from django.utils import timezone

from dovetail_audit.entries.databases import owner
from dovetail_audit.protection.locks import TableInUse
from dovetail_audit.protection.partitions import NotPartitioned, partition


class Command(BaseCommand):
    help = (
        "Partition the audit entries by month (PostgreSQL), and create the partitions of the next months. Run it once "
        "a month. Entries from before the first run become one partition; writers wait while PostgreSQL reads them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--months", type=int, default=3, help="Months ahead (default: 3).")

    def handle(self, *args: Any, months: int, **options: Any) -> None:
        connection = connections[owner()]
        if connection.vendor != "postgresql":
            raise CommandError(f"Partitions need PostgreSQL; the entries are in {connection.display_name}.")
        if not 0 <= months <= 120:
            raise CommandError(f"--months must be from 0 to 120; got {months}.")
        try:
            created = partition(connection, months=months, now=timezone.now())
        except (NotPartitioned, TableInUse) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Partitions created: {', '.join(created) or 'none'}.")
