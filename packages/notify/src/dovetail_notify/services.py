"""Changes to inboxes and devices. After commit, the user's open sockets get a message about each change."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import router, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from dovetail_core.events import emit
from dovetail_core.secrets import keyed_hash
from dovetail_notify import events
from dovetail_notify.base import get_notification_model
from dovetail_notify.inbox.preferences import (
    clear_preference,
    set_organization_preference,
    set_preference,
    unsubscribe,
)
from dovetail_notify.inbox.reading import inbox, unread_of
from dovetail_notify.inbox.retention import purge_notifications
from dovetail_notify.models import Device
from dovetail_notify.outbox.digests import send_digests
from dovetail_notify.outbox.worker import deliver, resend
from dovetail_notify.realtime import messages
from dovetail_notify.transports.http.ssrf import check_endpoint

__all__ = [
    "clear_preference",
    "deliver",
    "mark_read",
    "mark_unread",
    "purge_notifications",
    "register_device",
    "remove_device",
    "remove_notification",
    "resend",
    "send_digests",
    "set_organization_preference",
    "set_preference",
    "unsubscribe",
    "update_notification",
]


def mark_read(
    *, user: Any, ids: Collection[int] | None = None, upto: int | None = None, organization_key: str | None = None
) -> int:
    """Mark the notifications in ``ids``, or all with an id up to ``upto``, as read. Return how many were unread.

    There is no way to mark all: a notification that just arrived has not been seen. Ids of other users' notifications
    are ignored.
    """
    if (ids is None) == (upto is None):
        raise TypeError("mark_read() takes either ids= or upto=.")
    condition = Q(pk__lte=upto) if ids is None else Q(pk__in=ids)
    return _mark(user, condition, organization_key, read=True, ids=ids, upto=upto)


def mark_unread(*, user: Any, ids: Collection[int], organization_key: str | None = None) -> int:
    """Mark notifications as unread and not archived. Return how many were read."""
    return _mark(user, Q(pk__in=ids), organization_key, read=False, ids=ids)


def update_notification(
    *, notification: Any, read: bool | None = None, seen: bool | None = None, archived: bool | None = None
) -> Any:
    """Change a notification's state. A read one is also seen, an archived one also read, an unread one not archived."""
    now = timezone.now()
    changes: dict[str, Any] = {}
    if seen is not None:
        changes["seen_at"] = now if seen else None
    if archived:
        changes |= {"archived_at": now, "read_at": now}
    elif archived is False:
        changes["archived_at"] = None
    if read:
        changes |= {"read_at": now, "seen_at": now}
    elif read is False:
        changes |= {"read_at": None, "archived_at": None}
    # A timestamp that is already set stays: read_at is the time of the first reading.
    changes = {
        name: value for name, value in changes.items() if (getattr(notification, name) is None) != (value is None)
    }
    if changes:
        using = _alias()
        with transaction.atomic(using=using):
            _rows(using).filter(pk=notification.pk).update(**changes)
            for name, value in changes.items():
                setattr(notification, name, value)
            _publish_state(notification.recipient, using, ids=[notification.pk], **changes)
    return notification


def remove_notification(*, notification: Any) -> None:
    using = _alias()
    with transaction.atomic(using=using):
        _rows(using).filter(pk=notification.pk).delete()
        _publish_state(notification.recipient, using, ids=[notification.pk], removed=True)


def register_device(*, user: Any, kind: str, token: str, keys: dict[str, Any] | None = None, name: str = "") -> Device:
    """Register a device of the user, or move a device that another user had registered to this user.

    Raises ``ValueError`` for an endpoint that is not a public https address.
    """
    if kind == Device.Kind.WEB:
        check_endpoint(token)
    using = router.db_for_write(Device)
    # The same token means the same app on the same phone, which must not get messages for its former user.
    fields = {
        "user_id": user.pk,
        "keys": keys or {},
        "name": name,
        "registered_at": timezone.now(),
        "retired_at": None,
        "retired_reason": "",
    }
    with transaction.atomic(using=using):
        device, created = Device.objects.using(using).update_or_create(
            token_hash=_token_hash(kind, token),
            defaults=fields,
            create_defaults={**fields, "kind": kind, "token": token},
        )
        if created:
            emit(events.DEVICE_REGISTERED, actor=user, target=device, data={"kind": kind}, using=using)
    return device


def remove_device(*, device: Device) -> None:
    using = router.db_for_write(Device)
    with transaction.atomic(using=using):
        emit(events.DEVICE_REMOVED, target=device, data={"kind": device.kind}, using=using)
        device.delete(using=using)


def _mark(
    user: Any,
    condition: Q,
    organization_key: str | None,
    *,
    read: bool,
    ids: Collection[int] | None,
    upto: int | None = None,
) -> int:
    using = _alias()
    now = timezone.now()
    rows = inbox(user, organization_key=organization_key, using=using).filter(condition).order_by()
    with transaction.atomic(using=using):
        if read:
            # seen_at first, because the next statement changes the condition; an earlier seen_at stays.
            rows.filter(read_at=None, seen_at=None).update(seen_at=now)
            changed = rows.filter(read_at=None).update(read_at=now)
        else:
            changed = rows.exclude(read_at=None).update(read_at=None, archived_at=None)
        if changed:
            _publish_state(
                user, using, ids=None if ids is None else list(ids), upto=upto, read_at=now if read else None
            )
    return changed


def _publish_state(user: Any, using: str, **changes: Any) -> None:
    """After commit, send the changes and the new unread count to the user's sockets."""

    def publish() -> None:
        count = unread_of(user, using=using)
        state = {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in changes.items()}
        frame = {"type": "state", **state, "unread": count.count, "capped": count.capped}
        messages.publish([{"type": "frame", "users": [str(user.pk)], "frame": frame}])

    transaction.on_commit(publish, using=using, robust=True)


def _token_hash(kind: str, token: str) -> str:
    return keyed_hash("dovetail_notify.device", f"{kind}:{token}")


def _rows(using: str) -> QuerySet[Any]:
    return get_notification_model()._base_manager.using(using)


def _alias() -> str:
    return router.db_for_write(get_notification_model())
