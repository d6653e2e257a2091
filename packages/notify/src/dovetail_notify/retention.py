"""Taking old notifications away, in small bites, so that an inbox of years locks nothing for long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import router, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from dovetail_notify import get_notification_model
from dovetail_notify.conf import conf
from dovetail_notify.models import Delivery, Ticket
from dovetail_notify.types import registry


def purge_notifications(*, batch: int = 5000, using: str | None = None) -> int:
    """Delete read notifications after ``NOTIFY_RETENTION_DAYS`` (or their type's own), unread ones after
    ``NOTIFY_UNREAD_RETENTION_DAYS``, and expired tickets. Returns how many notifications there were.

    ``batch`` rows are looked at and deleted at a time, in the order of their keys, which is that of their age. No
    signals are sent.
    """
    model = get_notification_model()
    using = using or router.db_for_write(model)
    Ticket.objects.using(using).filter(expires_at__lt=timezone.now()).delete()
    ages = _Ages()
    deleted, last = 0, 0
    while rows := _page(using, last, batch):
        old = [
            key for key, type_key, created_at, read_at in rows if ages.over(type_key, created_at, read_at is not None)
        ]
        before, last = last, rows[-1][0]
        with transaction.atomic(using=using):
            # By hand and without collecting: Django would load each row to ask for what hangs on it.
            notifications = model._base_manager.using(using)
            # Theirs, and those whose notification was deleted by SQL alone. One statement sees both tables at one time:
            # what is committed meanwhile has its notification. Before the inbox's rows, as whoever deletes one of them
            # does: in another order the two would wait for each other.
            staying = notifications.exclude(pk__in=old).filter(pk=OuterRef("notification"))
            deliveries = Delivery.objects.using(using).filter(notification__gt=before, notification__lte=last)
            deliveries.filter(~Exists(staying))._raw_delete(using)
            if old:
                notifications.filter(pk__in=old)._raw_delete(using)
        deleted += len(old)
        # Keys follow time: after a page of young ones there are no old ones.
        if rows[-1][2] > ages.youngest:
            break
    return deleted


def _page(using: str, last: int, batch: int) -> list[Any]:
    rows = get_notification_model()._base_manager.using(using).filter(pk__gt=last).order_by("pk")
    return list(rows.values_list("pk", "type", "created_at", "read_at")[:batch])


class _Ages:
    def __init__(self) -> None:
        self.now = timezone.now()
        self.unread = self.now - timedelta(days=conf.UNREAD_RETENTION_DAYS)
        days = {cls.key: cls.retention_days for cls in registry.all() if cls.retention_days is not None}
        self.read = {key: self.now - timedelta(days=each) for key, each in days.items()}
        self.read_default = self.now - timedelta(days=conf.RETENTION_DAYS)
        self.youngest = max([self.unread, self.read_default, *self.read.values()])

    def over(self, type_key: str, created_at: Any, read: bool) -> bool:
        limit = self.read.get(type_key, self.read_default) if read else self.unread
        return bool(created_at <= limit)
