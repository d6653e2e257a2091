"""Days of metrics. A day is one in UTC; without ``USE_TZ``, one of the project's time zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

from django.conf import settings
from django.utils import timezone


def today(now: datetime | None = None) -> date:
    now = now or timezone.now()
    return now.astimezone(UTC).date() if settings.USE_TZ else now.date()


def midnight(day: date) -> datetime:
    """Return the beginning of a day, as the database stores times."""
    return datetime.combine(day, time(), tzinfo=UTC if settings.USE_TZ else None)


def between(first: date, last: date) -> Iterator[date]:
    """Yield the days from ``first`` to ``last`` inclusive."""
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)
