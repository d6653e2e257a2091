"""Deletion in batches, and the base of the management commands that purge rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from dovetail_core.translation import gettext as _

#: Called after each batch with the number of rows deleted so far.
Progress = Callable[[int], None]


class Purge(Protocol):
    """A function that deletes expired rows and returns their number."""

    def __call__(self, *, batch_size: int, progress: Progress | None) -> int: ...


def delete_in_batches(rows: QuerySet[Any], *, batch_size: int = 1000, progress: Progress | None = None) -> int:
    """Delete ``rows``, at most ``batch_size`` at a time, and return how many were deleted.

    Each batch is a transaction of its own unless the caller opened one, so locks are short and an interrupted deletion
    can be continued by calling the function again. Order ``rows`` by an indexed column. Related rows and signals are
    handled as in ``QuerySet.delete()``; related rows are not counted.
    """
    deleted = 0
    while keys := list(rows.values_list("pk", flat=True)[:batch_size]):
        # The condition applies again: a row may have been renewed since its key was read.
        _total, counts = rows.filter(pk__in=keys).order_by().delete()
        deleted += counts.get(rows.model._meta.label, 0)
        if progress is not None:
            progress(deleted)
    return deleted


class PurgeCommand(BaseCommand):
    """A command that deletes rows. Subclasses set ``help`` and implement ``purges()``.

    ``--batch-size`` (also ``--batch``) sets the number of rows per statement. The command prints one line for each
    purge, or nothing with ``--verbosity 0``. On a terminal, and with ``--verbosity 2``, it also shows progress.
    Ctrl-C keeps the completed batches and ends the command with exit status 130; the next run continues.
    """

    batch_size = 1000

    def purges(self) -> Iterable[tuple[str, Purge]]:
        """Return the purges in order, each with a plural noun for its rows, such as ``"expired sessions"``."""
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        text = _("Number of rows per statement (default: %(number)d).") % {"number": self.batch_size}
        parser.add_argument(
            "--batch-size", "--batch", type=int, dest="batch_size", default=self.batch_size, metavar="ROWS", help=text
        )

    def handle(self, *args: Any, batch_size: int, verbosity: int, **options: Any) -> None:
        if batch_size < 1:
            text = _("--batch-size must be a whole number of at least 1; got %(number)d.")
            raise CommandError(text % {"number": batch_size})
        for subject, purge in self.purges():
            self._run(subject, purge, batch_size, verbosity)

    def _run(self, subject: str, purge: Purge, batch_size: int, verbosity: int) -> None:
        complete = 0
        terminal = verbosity == 1 and self.stdout.isatty()

        def progress(deleted: int) -> None:
            nonlocal complete
            complete = deleted
            if terminal or verbosity > 1:
                text = _("%(number)d %(rows)s deleted so far") % {"number": deleted, "rows": subject}
                self.stdout.write(f"\r{text}" if terminal else text, ending="" if terminal else "\n")
                self.stdout.flush()

        try:
            deleted = purge(batch_size=batch_size, progress=progress)
        except KeyboardInterrupt:
            message = _("Interrupted: %(number)d %(rows)s deleted. Run the command again to delete the rest.")
            raise CommandError(message % {"number": complete, "rows": subject}, returncode=130) from None
        if verbosity:
            start = "\r\x1b[K" if terminal else ""  # clears the progress line
            self.stdout.write(start + _("%(number)d %(rows)s deleted.") % {"number": deleted, "rows": subject})
