from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from dovetail_audit.exceptions import AuditError
from dovetail_audit.management.moments import parse_moment
from dovetail_audit.services import prune


class Command(BaseCommand):
    help = "Archive and delete the oldest audit entries. Their leaves remain, so all proofs remain valid."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--before", metavar="DATE", help="Delete entries that were sealed before (default: AUDIT_RETENTION)."
        )
        parser.add_argument(
            "--without-archive", action="store_true", help="Delete the entries without saving them in AUDIT_STORAGE."
        )

    def handle(self, *args: Any, before: str | None, without_archive: bool, verbosity: int, **options: Any) -> None:
        def progress(deleted: int) -> None:
            if verbosity > 1:
                self.stderr.write(f"{deleted} entries deleted so far")

        try:
            deleted = prune(
                before=parse_moment("--before", before) if before else None,
                archive=not without_archive,
                progress=progress,
            )
        except (AuditError, ImproperlyConfigured, ValueError) as error:
            raise CommandError(str(error)) from error
        if verbosity:
            self.stdout.write(f"{deleted} entries deleted.")
