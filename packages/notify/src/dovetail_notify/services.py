"""Changes to inboxes and devices. Open sockets of the user get a message about each change after commit."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from dovetail_core.events import emit
from dovetail_core.secrets import keyed_hash
from dovetail_core.transactions import Vanished, retry_on_conflict
from dovetail_notify import events
from dovetail_notify.base import AbstractNotification, get_notification_model
from dovetail_notify.inbox.maintenance import purge_notifications
from dovetail_notify.inbox.preferences import (
    change_preferences,
    clear_preference,
    set_organization_preference,
    set_preference,
    unsubscribe,
)
from dovetail_notify.inbox.reading import inbox_of_key, organization_keys, unread_of_key
from dovetail_notify.models import Device
from dovetail_notify.outbox.digests import send_digests
from dovetail_notify.outbox.worker import deliver, resend
from dovetail_notify.realtime import messages
from dovetail_notify.transports.http.ssrf import check_endpoint

__all__ = [
    "change_preferences",
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


@retry_on_conflict
def mark_read(
    *,
    user: AbstractBaseUser,
    ids: Collection[int] | None = None,
    upto: int | None = None,
    organization_key: str | None = None,
) -> int:
    """Mark the notifications in ``ids``, or all with an id up to ``upto``, as read. Return how many were unread.

    Marking all is not possible, because the user has not seen a notification that has just arrived. Ids of other users'
    notifications are ignored. Raise ``TypeError`` unless either ``ids`` or ``upto`` is given.
    """
    if (ids is None) == (upto is None):
        raise TypeError("mark_read() takes either ids= or upto=.")
    using, now = _database(), timezone.now()
    keys = organization_keys(user)
    rows = inbox_of_key(user.pk, keys, organization_key=organization_key, using=using).order_by()
    rows = rows.filter(pk__lte=upto) if ids is None else rows.filter(pk__in=ids)
    with transaction.atomic(using=using):
        # One statement, in which an earlier seen_at stays. On PostgreSQL, a second update of a row in one transaction
        # checks its foreign keys. It would wait for the deletion of the user, which waits for this row.
        changed = rows.filter(read_at=None).update(seen_at=Coalesce(F("seen_at"), now), read_at=now)
        if changed:
            _publish_state(user, using, lambda: keys, ids=None if ids is None else list(ids), upto=upto, read_at=now)
    return changed


@retry_on_conflict
def mark_unread(*, user: AbstractBaseUser, ids: Collection[int], organization_key: str | None = None) -> int:
    """Mark notifications as unread and not archived. Return how many were read."""
    using = _database()
    keys = organization_keys(user)
    rows = inbox_of_key(user.pk, keys, organization_key=organization_key, using=using).order_by().filter(pk__in=ids)
    with transaction.atomic(using=using):
        changed = rows.exclude(read_at=None).update(read_at=None, archived_at=None)
        if changed:
            _publish_state(user, using, lambda: keys, ids=list(ids), upto=None, read_at=None)
    return changed


@retry_on_conflict
def update_notification(
    *,
    notification: AbstractNotification,
    read: bool | None = None,
    seen: bool | None = None,
    archived: bool | None = None,
) -> AbstractNotification:
    """Change a notification's state. A read one is also seen, an archived one also read, an unread one not archived.

    Raise ``Vanished`` if the notification is deleted.
    """
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
        using = _database()
        with transaction.atomic(using=using):
            rows = type(notification)._base_manager.using(using).filter(pk=notification.pk)
            if not rows.update(**changes):
                raise Vanished(notification._meta.label)
            _publish_state(notification.recipient, using, ids=[notification.pk], **changes)
        # After the commit: if it fails, the second attempt must find the changes still to be made.
        for name, value in changes.items():
            setattr(notification, name, value)
    return notification


@retry_on_conflict
def remove_notification(*, notification: AbstractNotification) -> None:
    """Delete a notification. Raise ``Vanished`` if it is deleted already."""
    using, key = _database(), notification.pk
    with transaction.atomic(using=using):
        if not type(notification)._base_manager.using(using).filter(pk=key).delete()[0]:
            raise Vanished(notification._meta.label)
        _publish_state(notification.recipient, using, ids=[key], removed=True)


@retry_on_conflict
def register_device(
    *, user: AbstractBaseUser, kind: str, token: str, keys: dict[str, Any] | None = None, name: str = ""
) -> Device:
    """Register a device of the user, or move a device that another user had registered to this user.

    Raise ``ValueError`` for an endpoint that is not a public https address, and ``Vanished`` if the user is deleted.
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
            token_hash=keyed_hash("dovetail_notify.device", f"{kind}:{token}"),
            defaults=fields,
            create_defaults={**fields, "kind": kind, "token": token},
        )
        if created:
            emit(events.DEVICE_REGISTERED, actor=user, target=device, data={"kind": kind}, using=using)
    return device


@retry_on_conflict
def remove_device(*, device: Device) -> None:
    """Delete a device. Raise ``Vanished`` if it is deleted already."""
    using = router.db_for_write(Device)
    with transaction.atomic(using=using):
        if not Device.objects.using(using).filter(pk=device.pk).delete()[0]:
            raise Vanished(device._meta.label)
        emit(events.DEVICE_REMOVED, target=device, data={"kind": device.kind}, using=using)


def _publish_state(
    user: AbstractBaseUser, using: str, visible: Callable[[], Collection[str] | None] | None = None, **changes: Any
) -> None:
    """After commit, send the changes and the new unread count to the user's sockets.

    ``visible`` returns ``organization_keys(user)``, if the caller has called it. The count is then that of the
    organizations just before the transaction, which saves a query; the next frame or request corrects it.
    """

    def publish() -> None:
        state = {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in changes.items()}
        keys = visible() if visible else organization_keys(user)
        frame = {"type": "state", **state, **unread_of_key(user.pk, keys, using=using)._asdict()}
        messages.publish([{"type": "frame", "users": [str(user.pk)], "frame": frame}])

    transaction.on_commit(publish, using=using, robust=True)


def _database() -> str:
    return router.db_for_write(get_notification_model())
