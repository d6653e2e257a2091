"""What people want to hear once an hour or once a day: rows that wait in the outbox, sent by one message a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.auth import get_user_model
from django.db import router, transaction
from django.utils import timezone

from dovetail_notify.conf import conf
from dovetail_notify.delivery import Report, lease, record
from dovetail_notify.models import Delivery, Mode
from dovetail_notify.transports import Outcome, transport_for


def time_zone_of(user: Any) -> tzinfo:
    """The user's ``time_zone`` or ``timezone``, where the model has one and it names a zone, else the project's."""
    named = getattr(user, "time_zone", None) or getattr(user, "timezone", None)
    try:
        return ZoneInfo(str(named)) if named else timezone.get_default_timezone()
    except (KeyError, ValueError, OSError):
        return timezone.get_default_timezone()


def send_digests(*, using: str | None = None) -> Report:
    """Send the digests that are due. Call it a few times an hour; any number of processes may at once.

    Raises ``RuntimeError`` inside a transaction.
    """
    using = using or router.db_for_write(Delivery)
    report = Report()
    tried: set[Any] = set()
    while groups := [group for group in _due(using) if group not in tried]:
        for group in groups:
            tried.add(group)
            _send(group, report, using)
    return report


def _due(using: str) -> Iterator[tuple[Any, str, str]]:
    rows = Delivery.objects.using(using).filter(state=Delivery.State.HELD, next_at__lte=timezone.now())
    yield from rows.order_by().values_list("notification__recipient", "channel", "digest").distinct()[:500]


def _send(group: tuple[Any, str, str], report: Report, using: str) -> None:
    recipient, channel, digest = group
    user = get_user_model()._base_manager.using(using).filter(pk=recipient).first()
    now = timezone.now()
    waiting = Delivery.objects.using(using).filter(
        state=Delivery.State.HELD, next_at__lte=now, channel=channel, digest=digest, notification__recipient=recipient
    )
    found = list(waiting.order_by("pk").values_list("pk", "notification__created_at", "attempts"))
    keys = [key for key, _, _ in found]
    if not found:
        return
    if digest == Mode.DAILY and not any(attempts for _, _, attempts in found):
        due = _hour_after(min(created_at for _, created_at, _ in found), conf.TIME_ZONE(user))
        if due > now:
            Delivery.objects.using(using).filter(pk__in=keys, state=Delivery.State.HELD, attempts=0).update(next_at=due)
            return
    with transaction.atomic(using=using, durable=True):
        rows = lease(keys, Delivery.State.HELD, report, using=using)
    if rows:
        record(rows, _outcomes(user, channel, rows), report, using=using)


def _outcomes(user: Any, channel: str, rows: Sequence[Delivery]) -> list[Outcome]:
    """One message's outcome for all that was in it; what was read meanwhile needs no telling."""
    told = [row for row in rows if not _was_read(row.notification)]
    if not getattr(user, "is_active", True) or not told:
        return [Outcome.suppressed("read" if not told else "inactive")] * len(rows)
    try:
        outcome = transport_for(channel).send_digest(user, told)
    except Exception as error:  # noqa: BLE001  # whatever a transport raises is a failed attempt
        outcome = Outcome.retry(type(error).__name__)
    return [outcome if row in told else Outcome.suppressed("read") for row in rows]


def _was_read(notification: Any) -> bool:
    # One that the inbox does not show was read when it was made.
    return notification.read_at not in (None, notification.created_at)


def _hour_after(moment: datetime, zone: tzinfo) -> datetime:
    """The first ``NOTIFY_DIGEST_HOUR`` of that zone's clock after ``moment``."""
    local = moment.astimezone(zone)
    due = local.replace(hour=conf.DIGEST_HOUR % 24, minute=0, second=0, microsecond=0)
    # On the wall clock: a day of 23 or 25 hours has its morning too.
    return due if due > local else due + timedelta(days=1)
