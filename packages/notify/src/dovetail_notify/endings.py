"""Sockets end with their credential: what others say that ends one, by the names of their events and by signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import router, transaction
from django.db.models.signals import post_delete, post_save

from dovetail_core.events import Event, domain_event
from dovetail_notify import realtime
from dovetail_notify.credentials import object_session, session_hash

_SESSION_REVOKED: Final = "session.revoked"
_KEY_REVOKED: Final = frozenset({"api_key.revoked", "api_key.expired", "api_key.deleted"})
_MEMBER_REMOVED: Final = frozenset({"member.removed", "membership.removed"})
_MEMBER_CHANGED: Final = frozenset(
    {"member.added", "member.role_changed", "membership.added", "membership.role_changed"}
)
_ORGANIZATION_DELETED: Final = "organization.deleted"


def connect() -> None:
    domain_event.connect(_heard, dispatch_uid="dovetail_notify.endings")
    user_logged_out.connect(_logged_out, dispatch_uid="dovetail_notify.endings")
    post_save.connect(_saved, sender=get_user_model(), dispatch_uid="dovetail_notify.endings")
    post_delete.connect(_deleted, sender=get_user_model(), dispatch_uid="dovetail_notify.endings")


def _heard(event: Event, **_: Any) -> None:
    user, organization = event.data.get("user_id"), event.organization_id
    if event.name == _SESSION_REVOKED:
        for session in event.data.get("session_ids", ()):
            _end(event.using, session=str(session))
    elif event.name in _KEY_REVOKED and (session_of_key := object_session(event.target)):
        _end(event.using, session=session_of_key)
    elif event.name in _MEMBER_REMOVED and user is not None:
        _end(event.using, user=user, organization=organization, reason="membership_removed")
        _after_commit(event.using, lambda: realtime.recheck(user))
    elif event.name in _MEMBER_CHANGED and user is not None:
        _after_commit(event.using, lambda: realtime.recheck(user))
    elif event.name == _ORGANIZATION_DELETED:
        _end(event.using, organization=organization, reason="membership_removed")
        _after_commit(event.using, realtime.recheck)


def _logged_out(request: Any, user: Any, **_: Any) -> None:
    session = getattr(request, "session", None)
    # Sent before the session is flushed. Nothing to commit: sessions may be in no database.
    if user is not None and session is not None and session.session_key:
        _end(None, user=user, session=session_hash(session.session_key))


def _saved(instance: Any, created: bool, using: str, **_: Any) -> None:
    if not created and not getattr(instance, "is_active", True):
        _end(using, user=instance, reason="account_inactive")


def _deleted(instance: Any, using: str, **_: Any) -> None:
    _end(using, user=str(instance.pk), reason="account_inactive")


def _end(using: str | None, **what: Any) -> None:
    what = {name: realtime.key(value) if name != "reason" else value for name, value in what.items()}
    _after_commit(using, lambda: realtime.disconnect(**what))


def _after_commit(using: str | None, call: Callable[[], None]) -> None:
    alias = using or router.db_for_write(get_user_model())

    def run() -> None:
        call()

    transaction.on_commit(run, using=alias, robust=True)
