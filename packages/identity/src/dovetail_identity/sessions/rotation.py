"""Refresh and verification of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import router
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import UntypedToken
from rest_framework_simplejwt.utils import datetime_to_epoch

from dovetail_core.sql import Placeholder, compiled
from dovetail_identity.models import Session
from dovetail_identity.sessions.clients import address_of
from dovetail_identity.sessions.queries import Tokens
from dovetail_identity.sessions.revocation import RevocationReason, revoke_session
from dovetail_identity.sessions.tokens import (
    RefreshToken,
    check_sign_in_allowed,
    expiry_limit,
    user_and_session_state,
    user_of_token,
)

#: How long a refresh token is still accepted after the first use of the next one. Long enough for concurrent requests
#: of another browser tab, and too short for an attacker.
TOLERANCE: Final = timedelta(seconds=10)


def refresh_tokens(refresh: str, *, request: HttpRequest | None) -> Tokens:
    """Return a new access token and the next refresh token.

    Raises ``TokenError`` for a token that is malformed, forged, expired, superseded or not a refresh token, for a
    session that has ended, and for an account that is deleted or may not sign in. A superseded token revokes its
    session; if you call this function in a transaction, commit it despite the exception.
    """
    token = RefreshToken(refresh)  # type: ignore[arg-type]  # an encoded token
    session_id, generation = token.position
    now = timezone.now()
    using = router.db_for_write(Session)
    _record_use(session_id, generation, request, now, using)
    session = next(iter(compiled(_session_by_id, using=using).instances({"session": session_id})), None)
    if session is None or not session.is_live(expiry_limit(now)) or generation > session.generation:
        raise TokenError(_("The session is over."))
    tolerated = generation == session.generation - 1 and now - session.rotated_at <= TOLERANCE
    if generation != session.generation and not tolerated:
        revoke_session(session, reason=RevocationReason.REUSED)
        raise TokenError(_("The session is over."))
    user = user_of_token(token)
    check_sign_in_allowed(user, token)
    if user.pk != session.user_id:
        raise TokenError(_("The session is over."))
    access = str(token.access_token)
    token.set_position(session_id, generation + 1)
    token.set_iat(at_time=session.rotated_at)
    token.payload["exp"] = datetime_to_epoch(session.expires_at)
    return {"access": access, "refresh": str(token)}


def _session_by_id() -> QuerySet[Session]:
    return Session._base_manager.filter(pk=Placeholder("session", Session._meta.pk))


def verify_token(token: str) -> None:
    """Raise ``TokenError`` if the API does not accept the access token, or cannot refresh the refresh token."""
    verified = UntypedToken(token)  # type: ignore[arg-type]  # an encoded token
    if verified.get(api_settings.TOKEN_TYPE_CLAIM) == RefreshToken.token_type:
        _session, generation = RefreshToken(token).position  # type: ignore[arg-type]  # as above
        values: dict[str, Any] = {"previous": generation - 1, "generation": generation, "next": generation + 1}
        values["tolerated_since"] = timezone.now() - TOLERANCE
        user = user_and_session_state(verified, _can_refresh, values)
    else:
        user = user_and_session_state(verified)
    check_sign_in_allowed(user, verified)
    if not user.identity_session_is_live:
        raise TokenError(_("The session is over."))


def _can_refresh(values: Mapping[str, Any]) -> Q:
    recent = Q(generation=values["next"], rotated_at__gte=values["tolerated_since"])
    return Q(generation__in=(values["previous"], values["generation"])) | recent


def _record_use(session_id: UUID, generation: int, request: HttpRequest | None, now: datetime, using: str) -> None:
    """Record the use of a refresh token, and if its generation is the next one, make it the newest.

    This is one statement before any read. After a read, a lost race would require another one, and SQLite's deferred
    transactions could not get the lock.
    """
    # Whole seconds, as in tokens. If a database rounded, requests would get different tokens.
    stamp = now.replace(microsecond=0)
    is_next = Q(generation=generation - 1)
    rows = Session._base_manager.using(using).filter(
        pk=session_id, generation__in=(generation - 1, generation), revoked_at=None, expires_at__gt=expiry_limit(now)
    )
    rows.update(
        rotated_at=Case(When(is_next, then=Value(stamp)), default=F("rotated_at")),
        expires_at=Case(When(is_next, then=Value(stamp + RefreshToken.lifetime)), default=F("expires_at")),
        last_used_at=now,
        address=address_of(request),
        # Last, because on MySQL later assignments use the new value.
        generation=generation,
    )
