from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from dovetail_contract.services import purge_idempotency_records


class Command(BaseCommand):
    help = "Delete the records of idempotency keys whose CONTRACT_IDEMPOTENCY_RETENTION_HOURS are over."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch-size", type=int, default=1000, help="Rows of one statement (default: 1000).")

    def handle(self, *args: Any, **options: Any) -> None:
        purged = purge_idempotency_records(batch_size=max(1, options["batch_size"]))
        if options["verbosity"]:
            self.stdout.write(f"{purged} idempotency records deleted.")
