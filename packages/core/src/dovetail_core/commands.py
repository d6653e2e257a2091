"""Deletion of many rows in batches, and the management command around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

#: Is called after each batch with the number of rows that have been deleted so far.
Progress = Callable[[int], None]


class Purge(Protocol):
    """A function that deletes what is expired, and returns the number of rows."""

    def __call__(self, *, batch_size: int, progress: Progress | None) -> int: ...


def delete_in_batches(rows: QuerySet[Any], *, batch_size: int = 1000, progress: Progress | None = None) -> int:
    """Delete all of ``rows``, ``batch_size`` at a time by primary key, and return their number.

    Each batch is a transaction of its own, unless the caller has opened one: locks are short, and what is deleted stays
    deleted if the process ends. To continue, call it again. Give ``rows`` the order of an index. Related rows and
    signals are handled as by ``QuerySet.delete()``; related rows are not counted.
    """
    deleted = 0
    while keys := list(rows.values_list("pk", flat=True)[:batch_size]):
        # With the condition again: a row may have been renewed since its key was read.
        _, counts = rows.filter(pk__in=keys).order_by().delete()
        deleted += counts.get(rows.model._meta.label, 0)
        if progress is not None:
            progress(deleted)
    return deleted


class PurgeCommand(BaseCommand):
    """A command that deletes rows. Subclasses set ``help`` and return their purges, in order, from ``purges()``.

    ``--batch-size`` (also ``--batch``) is the number of rows in one statement. The command prints one line for each
    purge, nothing with ``--verbosity 0``. On a terminal, and with ``--verbosity 2``, it also prints the progress.
    Ctrl-C ends it with exit status 130 and keeps the batches that are complete; the next run continues.
    """

    batch_size = 1000

    def purges(self) -> Iterable[tuple[str, Purge]]:
        """What each purge deletes, in the plural, such as ``"expired sessions"``, and its function."""
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        text = f"Rows in one statement (default: {self.batch_size})."
        parser.add_argument(
            "--batch-size", "--batch", type=int, dest="batch_size", default=self.batch_size, metavar="ROWS", help=text
        )

    def handle(self, *args: Any, batch_size: int, verbosity: int, **options: Any) -> None:
        if batch_size < 1:
            raise CommandError(f"--batch-size is {batch_size}; it takes a whole number of at least 1.")
        for subject, purge in self.purges():
            self._run(subject, purge, batch_size, verbosity)

    def _run(self, subject: str, purge: Purge, batch_size: int, verbosity: int) -> None:
        complete = 0
        terminal = verbosity == 1 and self.stdout.isatty()

        def progress(deleted: int) -> None:
            nonlocal complete
            complete = deleted
            if terminal:
                self.stdout.write(f"\r{deleted} {subject} deleted so far", ending="")
                self.stdout.flush()
            elif verbosity > 1:
                self.stdout.write(f"{deleted} {subject} deleted so far")

        start = "\r\x1b[K" if terminal else ""  # the last line replaces that of the progress
        try:
            deleted = purge(batch_size=batch_size, progress=progress)
        except KeyboardInterrupt:
            message = f"Interrupted: {complete} {subject} deleted. Run the command again to delete the rest."
            raise CommandError(message, returncode=130) from None
        if verbosity:
            self.stdout.write(f"{start}{deleted} {subject} deleted.")
