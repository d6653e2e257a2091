from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from dovetail_audit.entries import databases
from dovetail_audit.entries.principals import keys_of
from dovetail_audit.events import AUDIT_EXPORTED
from dovetail_audit.exports.writer import FORMATS, export
from dovetail_audit.management.moments import parse_moment
from dovetail_audit.models import Entry
from dovetail_audit.reading.filters import at_condition, is_key
from dovetail_core.events import emit


class Command(BaseCommand):
    help = "Write audit entries, oldest first, as JSON lines, CEF or OCSF. The export itself is recorded."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", default="-", help="The file to create; '-' (default): standard output.")
        parser.add_argument("--format", choices=[*FORMATS], default="jsonl", help="Default: jsonl.")
        parser.add_argument("--proofs", action="store_true", help="Add the proof of each sealed entry (jsonl only).")
        parser.add_argument("--since", metavar="DATE", help="Only entries from this time on.")
        parser.add_argument("--until", metavar="DATE", help="Only entries before this time.")
        parser.add_argument("--organization", metavar="KEY", help="Only entries of this organization.")
        parser.add_argument("--action", metavar="NAME", help="Only entries with this action, such as user.deleted.")

    def handle(self, *args: Any, **options: Any) -> None:
        filters = {name: options[name] for name in ("since", "until", "organization", "action") if options[name]}
        rows, using = _rows(filters), databases.home()
        try:
            chunks = export(rows, options["format"], proofs=options["proofs"])
        except ValueError as error:
            raise CommandError(str(error)) from error
        digest, count = hashlib.sha256(), 0
        with _opened(options["file"]) as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                count += chunk.count(b"\n")
        data = {
            "format": options["format"],
            "proofs": options["proofs"],
            "count": count,
            "sha256": digest.hexdigest(),
            "filters": filters,
        }
        emit(AUDIT_EXPORTED, data=data, using=using)
        if options["verbosity"]:
            self.stderr.write(f"{count} entries exported. SHA-256: {digest.hexdigest()}")


def _rows(filters: dict[str, str]) -> QuerySet[Entry]:
    rows = Entry.objects.using(databases.home()).all()
    if "since" in filters:
        rows = rows.filter(at_condition("gte", parse_moment("--since", filters["since"])))
    if "until" in filters:
        rows = rows.filter(at_condition("lt", parse_moment("--until", filters["until"])))
    if "organization" in filters:
        rows = rows.filter(is_key("organization", keys_of(filters["organization"])))
    return rows.filter(action=filters["action"]) if "action" in filters else rows


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open a new file that only its owner can read, or standard output."""
    if path == "-":
        yield sys.stdout.buffer
        return
    try:
        # An export is not overwritten by another by mistake.
        with Path(path).open("xb") as file:
            Path(path).chmod(0o600)
            yield file
    except OSError as error:
        raise CommandError(f"The file {path} cannot be created: {error}") from error
