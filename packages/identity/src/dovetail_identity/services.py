"""Services that sign users in, and create, change and delete accounts, for any ``AUTH_USER_MODEL``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction

from dovetail_core.events import emit
from dovetail_core.transactions import lock, retry_on_conflict
from dovetail_identity import events
from dovetail_identity.exceptions import InvalidOrExpired
from dovetail_identity.registration.passwords import change_password, request_password_reset, reset_password
from dovetail_identity.registration.sign_up import purge_registrations, register, verify_email
from dovetail_identity.sessions.queries import Tokens, alias_of
from dovetail_identity.sessions.revocation import (
    RevocationReason,
    purge_sessions,
    revoke_all_sessions,
    revoke_session,
    sign_out,
)
from dovetail_identity.sessions.rotation import refresh_tokens, verify_token
from dovetail_identity.sessions.sign_in import issue_tokens, sign_in

__all__ = [
    "InvalidOrExpired",
    "RevocationReason",
    "Tokens",
    "change_password",
    "delete_user",
    "issue_tokens",
    "purge_registrations",
    "purge_sessions",
    "refresh_tokens",
    "register",
    "request_password_reset",
    "reset_password",
    "revoke_all_sessions",
    "revoke_session",
    "sign_in",
    "sign_out",
    "update_user",
    "verify_email",
    "verify_token",
]


def update_user(user: AbstractBaseUser, *, changes: Mapping[str, Any]) -> None:
    """Save only ``changes``, which maps field names to validated values. Emits ``user.updated``.

    Raises ``Vanished`` if the user is deleted.
    """
    changed = {name: value for name, value in changes.items() if getattr(user, name) != value}
    if changed:
        _save_changed(user, changed)


@retry_on_conflict
def _save_changed(user: AbstractBaseUser, changed: Mapping[str, Any]) -> None:
    for name, value in changed.items():
        setattr(user, name, value)
    using = alias_of(user)
    # Saving all fields could overwrite a password or permission that changed since the request began.
    stamps = [field.name for field in user._meta.concrete_fields if getattr(field, "auto_now", False)]
    with transaction.atomic(using=using):
        user.save(update_fields=[*changed, *stamps], using=using)
        emit(events.USER_UPDATED, target=user, data={"fields": sorted(changed)}, using=using)


@retry_on_conflict
def delete_user(user: AbstractBaseUser) -> None:
    """Delete an account and the rows that cascade from it. Emits ``user.deleted``. ``user`` keeps its primary key.

    Raises ``ProtectedError`` or ``RestrictedError`` if a foreign key prevents the deletion, ``Vanished`` if the account
    is deleted already, and any exception of a receiver of ``pre_delete``. No row is deleted in these cases.
    """
    using, user_id = alias_of(user), user.pk
    with transaction.atomic(using=using):
        # Without the lock, a session that is created after the others were read would prevent the deletion.
        lock(user.__class__._base_manager.using(using).filter(pk=user_id), deleting=True)
        user.delete(using=using)
        # Receivers and the principal of the request still need the primary key.
        user.pk = user_id
        # Emitted after the deletion, because foreign keys prevent many, and the event is logged.
        emit(events.USER_DELETED, target=user, data={"user_id": str(user_id)}, using=using)
