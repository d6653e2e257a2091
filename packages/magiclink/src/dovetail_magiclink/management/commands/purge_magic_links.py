from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dovetail_magiclink import services


class Command(BaseCommand):
    help = "Delete the magic links whose term is a day ago. Run it once a day."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch", type=int, default=1000, help="Rows in one statement (default: 1000).")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["batch"] < 1:
            raise CommandError(f"--batch is {options['batch']}; it takes a whole number of at least 1.")
        self.stdout.write(f"Deleted {services.purge_magic_links(batch=options['batch'])} magic links.")
