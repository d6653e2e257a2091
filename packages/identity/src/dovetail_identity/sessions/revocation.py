"""Sign-out, and revocation and deletion of sessions."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ObjectDoesNotExist
from django.db import router, transaction
from django.db.models import Q
from django.utils import timezone

from dovetail_core.commands import Progress, delete_in_batches
from dovetail_core.events import emit
from dovetail_core.transactions import retry_on_conflict
from dovetail_identity import events
from dovetail_identity.models import Session
from dovetail_identity.sessions.queries import alias_of, sessions_of


class RevocationReason(StrEnum):
    SIGNED_OUT = "signed_out"
    REVOKED = "revoked"
    REUSED = "reused"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  # a reason, not a password
    PASSWORD_RESET = "password_reset"  # noqa: S105


def revoke_session(
    session: Session, *, reason: str = RevocationReason.REVOKED, user: AbstractBaseUser | None = None
) -> bool:
    """End a session and its access tokens. Return False if it had already ended. Emits ``session.revoked``.

    ``user`` is the session's user, if the caller has loaded it.
    """
    try:
        user = user or session.user
    except ObjectDoesNotExist:  # the account was deleted since the session was read
        return False
    return bool(_revoke(user, Q(pk=session.pk), reason))


def revoke_all_sessions(
    user: AbstractBaseUser, *, reason: str = RevocationReason.REVOKED, keep: UUID | None = None
) -> int:
    """End all sessions of ``user`` except ``keep`` and return their number. Emits ``session.revoked`` if any ended."""
    return _revoke(user, ~Q(pk=keep) if keep else Q(), reason)


def sign_out(refresh: str) -> None:
    """End the session of a refresh token, even if it is superseded. Raise ``TokenError`` for any other token."""
    # Imported late: see sessions/queries.py.
    from dovetail_identity.sessions.tokens import RefreshToken

    session_id, _generation = RefreshToken(refresh).position  # type: ignore[arg-type]  # an encoded token
    session = Session._base_manager.select_related("user").filter(pk=session_id, revoked_at=None).first()
    if session is not None:
        revoke_session(session, reason=RevocationReason.SIGNED_OUT)


def purge_sessions(*, batch_size: int = 1000, progress: Progress | None = None) -> int:
    """Delete expired sessions and return their number. Each batch is committed."""
    sessions = Session._base_manager.using(router.db_for_write(Session))
    expired = sessions.filter(expires_at__lte=timezone.now()).order_by("expires_at")
    return delete_in_batches(expired, batch_size=batch_size, progress=progress)


@retry_on_conflict
def _revoke(user: AbstractBaseUser, condition: Q, reason: str) -> int:
    using = alias_of(user)
    with transaction.atomic(using=using):
        # Writes first: on SQLite, a transaction that has read fails to write after another transaction has written.
        now = timezone.now()
        ended = sessions_of(user).filter(condition, revoked_at=None).update(revoked_at=now, revoked_reason=reason)
        if ended:
            keys = sessions_of(user).filter(condition, revoked_at=now).values_list("pk", flat=True)
            data = {"session_ids": [str(key) for key in keys], "reason": str(reason)}
            emit(events.SESSION_REVOKED, target=user, data=data, using=using)
    return ended
