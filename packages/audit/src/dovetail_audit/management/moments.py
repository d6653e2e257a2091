"""Times on the command line."""

from __future__ import annotations

from datetime import datetime

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime


def parse_moment(option: str, value: str, *, returncode: int = 1) -> datetime:
    """Return the time of an option: a date (its midnight) or a time, in the project's time zone unless it names one.

    Raise ``CommandError`` with ``returncode`` for other text.
    """
    try:
        moment = parse_datetime(value)
        day = None if moment else parse_date(value)
    except ValueError:  # well formed, but not a date, such as February 30
        moment = day = None
    if day is not None:
        moment = datetime(day.year, day.month, day.day)  # noqa: DTZ001  # made aware below
    if moment is None:
        message = f"{option} takes a date or a time such as 2026-01-31T12:00:00Z; got {value!r}."
        raise CommandError(message, returncode=returncode)
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
