"""The session and the expiry of a request's credential. Sockets end with both.

Domain events of other packages and Django's signals tell when a credential ends.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.signals import user_logged_out
from django.db import router, transaction
from django.db.models.signals import post_delete, post_save
from django.http import HttpRequest
from rest_framework.request import Request

from dovetail_core.accounts import may_sign_in
from dovetail_core.events import Event, domain_event
from dovetail_core.secrets import keyed_hash
from dovetail_notify.realtime import messages

_KEY_REVOKED: Final = frozenset({"api_key.revoked", "api_key.expired", "api_key.deleted"})
_MEMBER_REMOVED: Final = frozenset({"member.removed", "membership.removed"})
_MEMBER_CHANGED: Final = frozenset(
    {"member.added", "member.role_changed", "membership.added", "membership.role_changed"}
)
_UID: Final = "dovetail_notify.realtime.credentials"


def credential_of(request: Request) -> tuple[str | None, datetime | None]:
    """Return the session and the expiry of a DRF request's credential; either may be None.

    For a token with claims, such as simplejwt's, these are ``sid`` and ``exp``. For a model instance, such as an API
    key or one of DRF's tokens, these are :func:`object_session` and ``expires_at``. For a Django session, these are a
    hash of its key and its expiry.
    """
    claims = getattr(request.auth, "payload", request.auth)
    if isinstance(claims, dict):
        expires, session_id = claims.get("exp"), claims.get("sid")
        expires_at = datetime.fromtimestamp(expires, UTC) if isinstance(expires, int | float) else None
        return str(session_id) if session_id else None, expires_at
    if request.auth is not None and not isinstance(request.auth, str | bytes):
        expires_at = getattr(request.auth, "expires_at", None)
        return object_session(request.auth), expires_at if isinstance(expires_at, datetime) else None
    session = getattr(request, "session", None)
    if request.auth is None and session is not None and session.session_key:
        return session_hash(session.session_key), session.get_expiry_date()
    return None, None


def session_hash(session_key: str) -> str:
    """Return the id of a Django session for tickets and messages. The key itself is a credential."""
    return keyed_hash("dovetail_notify.session", session_key)


def object_session(credential: object) -> str | None:
    """Return the session id of a credential object. Revoking the credential closes the sockets of this session.

    It only depends on ``pk`` or ``id``, because the credential and the revoked row may be objects of two classes.
    """
    key = getattr(credential, "pk", None) or getattr(credential, "id", None)
    # Hashed, because the primary key of DRF's tokens is their secret.
    return None if key is None else keyed_hash("dovetail_notify.credential", str(key))


def connect_signals() -> None:
    domain_event.connect(_on_domain_event, dispatch_uid=_UID)
    user_logged_out.connect(_on_logout, dispatch_uid=_UID)
    post_save.connect(_on_user_saved, sender=get_user_model(), dispatch_uid=_UID)
    post_delete.connect(_on_user_deleted, sender=get_user_model(), dispatch_uid=_UID)


def _on_domain_event(event: Event, **_: Any) -> None:
    user, organization = event.data.get("user_id"), event.organization_id
    if event.name == "session.revoked":
        for session in event.data.get("session_ids", ()):
            _disconnect(event.using, session=str(session))
    elif event.name in _KEY_REVOKED and (key_session := object_session(event.target)):
        _disconnect(event.using, session=key_session)
    elif event.name in _MEMBER_REMOVED and user is not None:
        _disconnect(event.using, user=user, organization=organization, reason="membership_removed")
        _after_commit(event.using, lambda: messages.recheck(user))
    elif event.name in _MEMBER_CHANGED and user is not None:
        _after_commit(event.using, lambda: messages.recheck(user))
    elif event.name == "organization.deleted":
        _disconnect(event.using, organization=organization, reason="membership_removed")
        _after_commit(event.using, messages.recheck)


def _on_logout(request: HttpRequest, user: AbstractBaseUser | None, **_: Any) -> None:
    session = getattr(request, "session", None)
    # Django sends the signal before it flushes the session. The database alias of the session is unknown.
    if user is not None and session is not None and session.session_key:
        _disconnect(None, user=user, session=session_hash(session.session_key))


def _on_user_saved(instance: AbstractBaseUser, created: bool, using: str, **_: Any) -> None:
    if not created and not may_sign_in(instance):
        _disconnect(using, user=instance, reason="account_inactive")


def _on_user_deleted(instance: AbstractBaseUser, using: str, **_: Any) -> None:
    _disconnect(using, user=instance, reason="account_inactive")


def _disconnect(using: str | None, **arguments: Any) -> None:
    # Keys are read now: a deleted instance has none after commit.
    arguments = {name: value if name == "reason" else messages.key_text(value) for name, value in arguments.items()}
    _after_commit(using, lambda: messages.disconnect(**arguments))


def _after_commit(using: str | None, call: Callable[[], None]) -> None:
    transaction.on_commit(call, using=using or router.db_for_write(get_user_model()), robust=True)
