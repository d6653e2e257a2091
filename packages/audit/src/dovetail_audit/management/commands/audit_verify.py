from __future__ import annotations

import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from dovetail_audit.entries import databases
from dovetail_audit.exceptions import BrokenSeal
from dovetail_audit.management.moments import parse_moment
from dovetail_audit.sealing.checkpoints import InvalidSignature, UnknownKey
from dovetail_audit.services.verifying import report_tampering
from dovetail_audit.verification.findings import TAMPERING, Finding, Kind, exit_status
from dovetail_audit.verification.scan import verify, verify_entry, verify_organization


class Command(BaseCommand):
    help = (
        "Compare the audit entries with the sealed tree and its checkpoints. Exit status: 0 clean, 1 tampering, "
        "2 something cannot be verified, 3 entries are not sealed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since", metavar="SIZE|DATE", help="Start at the last checkpoint before a number of entries or a time."
        )
        parser.add_argument("--entry", type=UUID, metavar="ID", help="Verify only this entry.")
        parser.add_argument("--organization", metavar="KEY", help="Verify only the entries of this organization.")
        parser.add_argument(
            "--anchor",
            action="append",
            default=[],
            metavar="FILE",
            help="A checkpoint that was stored outside the database; can be repeated.",
        )
        parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object per line.")
        parser.add_argument(
            "--workers", type=int, default=1, metavar="N", help="Compare the entries in N processes. Default: 1."
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        # Exit status 1 accuses somebody of tampering. Whatever else fails, such as a check or the database, is 2.
        try:
            return super().execute(*args, **options)
        except CommandError as error:
            error.returncode = 2
            raise
        except Exception as error:
            raise CommandError(f"The log cannot be verified: {type(error).__name__}: {error}", returncode=2) from error

    def handle(self, *args: Any, **options: Any) -> None:
        counts: Counter[Kind] = Counter()
        first: UUID | None = None
        try:
            with _frozen():
                for finding in self._findings(options):
                    counts[finding.kind] += 1
                    first = first or (finding.entry if finding.kind in TAMPERING else None)
                    self._print(finding, options["format"])
        except (BrokenSeal, InvalidSignature, UnknownKey, ValueError) as error:
            raise CommandError(str(error), returncode=2) from error
        status = exit_status(counts)
        if options["verbosity"] and options["format"] == "text":
            self.stdout.write(_summary(counts))
        if status == 1:
            self._report(counts, first)
        if status:
            sys.exit(status)

    def _findings(self, options: dict[str, Any]) -> Iterator[Finding]:
        if sum(options[name] is not None for name in ("since", "entry", "organization")) > 1:
            raise CommandError("Use only one of --since, --entry and --organization.", returncode=2)
        if options["entry"] is not None or options["organization"] is not None:
            for name in ("anchor", "workers"):
                if options[name] not in ([], 1):
                    message = f"--{name} needs the whole log, without --entry and --organization."
                    raise CommandError(message, returncode=2)
            if options["entry"] is not None:
                return verify_entry(options["entry"])
            return verify_organization(options["organization"])
        notes = [_read(path) for path in options["anchor"]]
        progress = Progress(self) if options["verbosity"] else None
        return verify(since=_since(options["since"]), anchors=notes, progress=progress, workers=options["workers"])

    def _print(self, finding: Finding, form: str) -> None:
        if form == "json":
            self.stdout.write(json.dumps(finding.as_dict()))
            return
        place = f" entry {finding.entry}" if finding.entry else ""
        place += f" leaf {finding.position}" if finding.position is not None else ""
        self.stdout.write(f"{finding.kind}:{place} {finding.message}")

    def _report(self, counts: Counter[Kind], first: UUID | None) -> None:
        try:
            report_tampering(counts, first, using=databases.home())
        except DatabaseError as error:  # a role that may only read
            self.stderr.write(f"The findings could not be recorded as an event: {error}")


class Progress:
    """Writes a line to stderr each second: entries, entries per second, and the estimated time left."""

    def __init__(self, command: BaseCommand) -> None:
        self._command = command
        self._begun = self._written = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._written < 1 and done < total:
            return
        self._written = now
        rate = done / max(now - self._begun, 0.001)
        left = round((total - done) / max(rate, 0.001))
        self._command.stderr.write(f"{done} of {total} entries, {rate:.0f}/s, {left} s left")
        self._command.stderr.flush()


@contextmanager
def _frozen() -> Iterator[None]:
    """Hide the objects of the project from the garbage collector, whose search took a twelfth of the time."""
    is_frozen = gc.get_freeze_count() > 0
    if not is_frozen:
        gc.freeze()
    try:
        yield
    finally:
        if not is_frozen:
            gc.unfreeze()


def _summary(counts: Counter[Kind]) -> str:
    found = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
    verdict = {0: "The log is intact.", 1: "The log was tampered with.", 2: "The log cannot be verified."}
    text = verdict.get(exit_status(counts), "The log is intact, but entries are not sealed.")
    return f"{text} Findings: {found}." if found else text


def _since(value: str | None) -> int | datetime | None:
    if value is None:
        return None
    return int(value) if value.isdecimal() else parse_moment("--since", value, returncode=2)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"The anchor {path} cannot be read: {error}", returncode=2) from error
