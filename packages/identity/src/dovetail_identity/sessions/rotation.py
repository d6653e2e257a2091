"""The use of a session's tokens: refresh and verification."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import router
from django.db.models import Case, F, Q, Value, When
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token, UntypedToken
from rest_framework_simplejwt.utils import datetime_to_epoch

from dovetail_identity.models import Session
from dovetail_identity.sessions.clients import address_of
from dovetail_identity.sessions.revocation import RevocationReason, revoke_session
from dovetail_identity.sessions.tokens import RefreshToken, Tokens, parse
from dovetail_identity.sessions.users import check_sign_in_allowed, user_and_session_state, user_named_by

#: How long a refresh token still works after the first use of its successor. Long enough for requests of another tab
#: that are under way, and too short to be of use to a thief.
TOLERANCE: Final = timedelta(seconds=10)


def refresh_tokens(refresh: str, *, request: HttpRequest | None) -> Tokens:
    """Return a new access token and the successor of ``refresh``.

    Raises ``TokenError`` for a token that is malformed, forged, expired, superseded or not a refresh token, for a
    session that has ended, and for an account that is deleted or may not sign in. A superseded token revokes its
    session: in a transaction of your own, do not let the error roll that back.
    """
    token = parse(RefreshToken, refresh)
    session_id, generation = token.position
    now = timezone.now()
    using = router.db_for_write(Session)
    _record_use(session_id, generation, request, now, using)
    session = Session._base_manager.using(using).filter(pk=session_id).first()
    if session is None or not session.lives(now) or generation > session.generation:
        raise TokenError(_("The session is over."))
    if not _is_current(generation, session, now):
        revoke_session(session, reason=RevocationReason.REUSED)
        raise TokenError(_("The session is over."))
    user = user_named_by(token)
    check_sign_in_allowed(user, token)
    if user.pk != session.user_id:
        raise TokenError(_("The session is over."))
    access = str(token.access_token)
    token.set_position(session_id, generation + 1)
    token.set_iat(at_time=session.rotated_at)
    token.payload["exp"] = datetime_to_epoch(session.expires_at)
    return {"access": access, "refresh": str(token)}


def verify_token(token: str) -> None:
    """Raise ``TokenError`` unless the API accepts this access token, or the refresh endpoint this refresh token."""
    verified: Token = parse(UntypedToken, token)
    condition = Q()
    if verified.get(api_settings.TOKEN_TYPE_CLAIM) == RefreshToken.token_type:
        _session, generation = parse(RefreshToken, token).position
        recent = Q(generation=generation + 1, rotated_at__gte=timezone.now() - TOLERANCE)
        condition = Q(generation__in=(generation - 1, generation)) | recent
    user = user_and_session_state(verified, condition)
    check_sign_in_allowed(user, verified)
    if not user.identity_session_lives:
        raise TokenError(_("The session is over."))


def _record_use(session_id: UUID, generation: int, request: HttpRequest | None, now: datetime, using: str) -> None:
    """Record the use in one statement, which makes the generation the newest if it is the next one.

    It writes before anything is read. A read first would need a second one after a lost race, and fails with a lock
    under SQLite's deferred transactions.
    """
    # Whole seconds, as in tokens: a database that rounds must not make two successors of one.
    stamp = now.replace(microsecond=0)
    is_next = Q(generation=generation - 1)
    rows = Session._base_manager.using(using).filter(
        pk=session_id, generation__in=(generation - 1, generation), revoked_at=None, expires_at__gt=now
    )
    rows.update(
        rotated_at=Case(When(is_next, then=Value(stamp)), default=F("rotated_at")),
        expires_at=Case(When(is_next, then=Value(stamp + RefreshToken.lifetime)), default=F("expires_at")),
        last_used_at=now,
        address=address_of(request),
        # Last, because MySQL's assignments see those before them.
        generation=generation,
    )


def _is_current(generation: int, session: Session, now: datetime) -> bool:
    if generation == session.generation:
        return True
    return generation == session.generation - 1 and now - session.rotated_at <= TOLERANCE
