from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from dovetail_tenancy.services import purge_invitations


class Command(BaseCommand):
    help = "Delete invitations whose term ended TENANCY_INVITATION_RETENTION_DAYS ago, answered or not."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch-size", type=int, default=1000, help="Rows of one statement (default: 1000).")

    def handle(self, *args: Any, **options: Any) -> None:
        purged = purge_invitations(batch_size=max(1, options["batch_size"]))
        if options["verbosity"]:
            self.stdout.write(f"{purged} invitations deleted.")
