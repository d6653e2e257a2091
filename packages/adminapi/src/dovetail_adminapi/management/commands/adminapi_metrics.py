from __future__ import annotations

from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dovetail_adminapi.metrics import days
from dovetail_adminapi.metrics.registry import registry
from dovetail_adminapi.metrics.rollup import roll_up


class Command(BaseCommand):
    help = "Store the metrics of the days that are over. Run it each night after midnight UTC."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="*", metavar="METRIC", help="Metrics, such as users.new (default: all).")
        parser.add_argument(
            "--since", metavar="DAY", help="Also compute earlier days again, from 2026-01-31 for example."
        )

    def handle(self, *, names: list[str], since: str | None, verbosity: int, **options: Any) -> None:
        unknown = sorted(name for name in names if registry.get(name) is None)
        if unknown:
            known = ", ".join(metric.name for metric in registry.all())
            raise CommandError(f"There is no metric {', '.join(unknown)}. The metrics are: {known}.")

        def show(name: str, day: date) -> None:
            if verbosity > 1:
                self.stdout.write(f"{name}: complete up to {day}")

        number = roll_up(names=names or None, since=_day(since), progress=show)
        if verbosity:
            self.stdout.write(f"{number} metrics stored.")


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"--since must be a day such as 2026-01-31; got {text!r}.") from error
    if day >= days.today():
        raise CommandError(f"--since must be before today in UTC; got {text}.")
    return day
