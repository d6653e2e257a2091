"""Deleting old notifications in small batches, so that no statement holds locks for long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import router, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from dovetail_notify.base import get_notification_model
from dovetail_notify.conf import conf
from dovetail_notify.models import Delivery, Ticket
from dovetail_notify.types import registry


def purge_notifications(*, batch: int = 5000, using: str | None = None) -> int:
    """Delete old notifications and expired tickets. Return the number of notifications.

    Read ones are deleted after ``NOTIFY_RETENTION_DAYS`` or their type's ``retention_days``, unread ones after
    ``NOTIFY_UNREAD_RETENTION_DAYS``. Rows are read and deleted ``batch`` at a time in the order of their keys, which
    is the order of their age. No signals are sent.
    """
    model = get_notification_model()
    using = using or router.db_for_write(model)
    Ticket.objects.using(using).filter(expires_at__lt=timezone.now()).delete()
    limits = _AgeLimits()
    deleted, last = 0, 0
    while rows := _page(using, last, batch):
        old = [
            key
            for key, type_key, created_at, read_at in rows
            if limits.is_over(type_key, created_at, read_at is not None)
        ]
        before, last = last, rows[-1][0]
        with transaction.atomic(using=using):
            # Without Django's collector, which would load each row to find related objects.
            notifications = model._base_manager.using(using)
            # Their deliveries, and those whose notification was deleted by SQL alone. One statement sees both tables at
            # one time, so a delivery that is committed meanwhile has its notification. Deliveries go first, as in
            # Django's cascade: in the opposite order the two could deadlock.
            staying = notifications.exclude(pk__in=old).filter(pk=OuterRef("notification"))
            deliveries = Delivery.objects.using(using).filter(notification__gt=before, notification__lte=last)
            deliveries.filter(~Exists(staying))._raw_delete(using)
            if old:
                notifications.filter(pk__in=old)._raw_delete(using)
        deleted += len(old)
        # Keys are in the order of time: after a recent row there are no old ones.
        if rows[-1][2] > limits.youngest:
            break
    return deleted


def _page(using: str, last: int, batch: int) -> list[Any]:
    rows = get_notification_model()._base_manager.using(using).filter(pk__gt=last).order_by("pk")
    return list(rows.values_list("pk", "type", "created_at", "read_at")[:batch])


class _AgeLimits:
    def __init__(self) -> None:
        self.now = timezone.now()
        self.unread = self.now - timedelta(days=conf.UNREAD_RETENTION_DAYS)
        days = {cls.key: cls.retention_days for cls in registry.all() if cls.retention_days is not None}
        self.read = {key: self.now - timedelta(days=each) for key, each in days.items()}
        self.read_default = self.now - timedelta(days=conf.RETENTION_DAYS)
        self.youngest = max([self.unread, self.read_default, *self.read.values()])

    def is_over(self, type_key: str, created_at: Any, read: bool) -> bool:
        limit = self.read.get(type_key, self.read_default) if read else self.unread
        return bool(created_at <= limit)
