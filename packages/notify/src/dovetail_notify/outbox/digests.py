"""Hourly and daily digests, which send a user's waiting deliveries in one message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction
from django.db.models import Model, QuerySet
from django.utils import timezone

from dovetail_core import mail
from dovetail_core.accounts import may_sign_in
from dovetail_notify.conf import conf
from dovetail_notify.models import Delivery, Mode
from dovetail_notify.outbox.worker import Report, lease, record
from dovetail_notify.transports import Outcome, transport_for


def time_zone_of(user: Model | None) -> tzinfo:
    """Return the time zone of ``user``, else the project's."""
    return mail.time_zone_of(user) or timezone.get_default_timezone()


def send_digests(*, using: str | None = None) -> Report:
    """Send the digests that are due. Call it a few times an hour; any number of processes may run it at once.

    Raise ``RuntimeError`` inside a transaction.
    """
    using = using or router.db_for_write(Delivery)
    report = Report()
    tried: set[tuple[Any, ...]] = set()
    columns = ("notification__recipient", "channel", "digest")
    while groups := set(_due(using).order_by().values_list(*columns).distinct()[:500]) - tried:
        for group in groups:
            tried.add(group)
            _send(group, report, using)
    return report


def _due(using: str) -> QuerySet[Delivery]:
    return Delivery.objects.using(using).filter(state=Delivery.State.HELD, next_at__lte=timezone.now())


def _send(group: tuple[Any, ...], report: Report, using: str) -> None:
    recipient, channel, digest = group
    user: Any = get_user_model()._base_manager.using(using).filter(pk=recipient).first()
    waiting = _due(using).filter(channel=channel, digest=digest, notification__recipient=recipient)
    rows = list(waiting.order_by("pk").values_list("pk", "notification__created_at", "attempts"))
    keys = [key for key, _, _ in rows]
    if not rows:
        return
    if digest == Mode.DAILY and not any(attempts for _, _, attempts in rows):
        due = _hour_after(min(created_at for _, created_at, _ in rows), conf.TIME_ZONE(user))
        if due > timezone.now():
            Delivery.objects.using(using).filter(pk__in=keys, state=Delivery.State.HELD, attempts=0).update(next_at=due)
            return
    with transaction.atomic(using=using, durable=True):
        claimed = lease(keys, Delivery.State.HELD, report, using=using)
    if claimed:
        record(claimed, _outcomes(user, channel, claimed), report, using=using)


def _outcomes(user: AbstractBaseUser, channel: str, rows: Sequence[Delivery]) -> list[Outcome]:
    """Send one message and return its outcome for each delivery in it. Read notifications are suppressed."""
    # A notification that the inbox does not show has read_at set from the start.
    unread = [row for row in rows if row.notification.read_at in (None, row.notification.created_at)]
    if not may_sign_in(user) or not unread:
        return [Outcome.suppressed("read" if not unread else "inactive")] * len(rows)
    try:
        outcome = transport_for(channel).send_digest(user, unread)
    except Exception as error:  # noqa: BLE001  # any exception of a transport is a failed attempt
        outcome = Outcome.retry(type(error).__name__)
    return [outcome if row in unread else Outcome.suppressed("read") for row in rows]


def _hour_after(moment: datetime, zone: tzinfo) -> datetime:
    """Return the first ``NOTIFY_DIGEST_HOUR`` in the zone after ``moment``."""
    local = moment.astimezone(zone)
    due = local.replace(hour=conf.DIGEST_HOUR % 24, minute=0, second=0, microsecond=0)
    # Wall clock arithmetic, which is also right on days of 23 or 25 hours.
    return due if due > local else due + timedelta(days=1)
