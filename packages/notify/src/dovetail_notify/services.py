"""What people do with their inbox, and where their devices are. Their other tabs are told of it after commit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import router, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from dovetail_core.events import emit
from dovetail_core.secrets import keyed_hash
from dovetail_notify import events, get_notification_model, realtime
from dovetail_notify.delivery import deliver, resend
from dovetail_notify.destinations import check_endpoint
from dovetail_notify.inbox import inbox, unread_of
from dovetail_notify.models import Device
from dovetail_notify.preferences import clear_preference, set_organization_preference, set_preference
from dovetail_notify.retention import purge_notifications

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
    "set_organization_preference",
    "set_preference",
    "update_notification",
]


def mark_read(
    *, user: Any, ids: Collection[int] | None = None, upto: int | None = None, organization_key: str | None = None
) -> int:
    """Mark those in ``ids``, or all up to and with the one whose id is ``upto``; how many had been unread.

    Never simply all: one that came meanwhile has not been seen. Others' ids are passed over.
    """
    if (ids is None) == (upto is None):
        raise TypeError("mark_read() takes either ids= or upto=.")
    which = Q(pk__lte=upto) if ids is None else Q(pk__in=ids)
    return _mark(user, which, organization_key, read=True, ids=ids, upto=upto)


def mark_unread(*, user: Any, ids: Collection[int], organization_key: str | None = None) -> int:
    """How many had been read. One that was archived comes back into the inbox."""
    return _mark(user, Q(pk__in=ids), organization_key, read=False, ids=ids)


def update_notification(
    *, notification: Any, read: bool | None = None, seen: bool | None = None, archived: bool | None = None
) -> Any:
    """Set what is given. Read ones are seen, and archived ones read; an unread one is not archived."""
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
    # When it was first read is what people mean by when it was read.
    changes = {
        name: value for name, value in changes.items() if (getattr(notification, name) is None) != (value is None)
    }
    if changes:
        using = _alias()
        with transaction.atomic(using=using):
            _rows(using).filter(pk=notification.pk).update(**changes)
            for name, value in changes.items():
                setattr(notification, name, value)
            _tell(notification.recipient, using, ids=[notification.pk], **changes)
    return notification


def remove_notification(*, notification: Any) -> None:
    using = _alias()
    with transaction.atomic(using=using):
        _rows(using).filter(pk=notification.pk).delete()
        _tell(notification.recipient, using, ids=[notification.pk], removed=True)


def register_device(*, user: Any, kind: str, token: str, keys: dict[str, Any] | None = None, name: str = "") -> Device:
    """Where this user's push goes from now on. A device that another person used before follows its present user.

    Raises ``ValueError`` for an endpoint that is no public https address.
    """
    if kind == Device.Kind.WEB:
        check_endpoint(token)
    using = router.db_for_write(Device)
    # The same token again is the same app on the same phone: without this its next owner would get John's messages.
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
    which: Q,
    organization_key: str | None,
    *,
    read: bool,
    ids: Collection[int] | None,
    upto: int | None = None,
) -> int:
    using = _alias()
    now = timezone.now()
    rows = inbox(user, organization_key=organization_key, using=using).filter(which).order_by()
    with transaction.atomic(using=using):
        if read:
            # Written before read, and an earlier seen_at is kept.
            rows.filter(read_at=None, seen_at=None).update(seen_at=now)
            changed = rows.filter(read_at=None).update(read_at=now)
        else:
            changed = rows.exclude(read_at=None).update(read_at=None, archived_at=None)
        if changed:
            _tell(user, using, ids=None if ids is None else list(ids), upto=upto, read_at=now if read else None)
    return changed


def _tell(user: Any, using: str, **what: Any) -> None:
    """The user's sockets, after commit, with the unread count as it then is."""

    def publish() -> None:
        count = unread_of(user, using=using)
        shown = {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in what.items()}
        frame = {"type": "state", **shown, "unread": count.count, "capped": count.capped}
        realtime.publish([{"type": "frame", "users": [str(user.pk)], "frame": frame}])

    transaction.on_commit(publish, using=using, robust=True)


def _token_hash(kind: str, token: str) -> str:
    return keyed_hash("dovetail_notify.device", f"{kind}:{token}")


def _rows(using: str) -> QuerySet[Any]:
    return get_notification_model()._base_manager.using(using)


def _alias() -> str:
    return router.db_for_write(get_notification_model())
