"""With what a socket ends: the session it was opened by, and the time at which the credential does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dovetail_core.secrets import keyed_hash


def credential_of(request: Any) -> tuple[str | None, datetime | None]:
    """Session and expiry of a DRF request's credential.

    Of a token with claims, such as simplejwt's: ``sid`` and ``exp``; of an object with ``expires_at``, such as an API
    key: that, and as session what :func:`object_session` makes of it; of Django's session: a hash of its key, and its
    end.
    """
    claims = getattr(request.auth, "payload", request.auth)
    if isinstance(claims, dict):
        expires = claims.get("exp")
        session = claims.get("sid")
        return (str(session) if session else None), (
            datetime.fromtimestamp(expires, UTC) if isinstance(expires, int | float) else None
        )
    if request.auth is not None and not isinstance(request.auth, str | bytes):
        # A row of whatever kind: an API key, a token of DRF's.
        expires_at = getattr(request.auth, "expires_at", None)
        return object_session(request.auth), expires_at if isinstance(expires_at, datetime) else None
    session = getattr(request, "session", None)
    if request.auth is None and session is not None and session.session_key:
        return session_hash(session.session_key), session.get_expiry_date()
    return None, None


def session_hash(session_key: str) -> str:
    """What stands for a Django session in tickets and messages: its key would sign somebody in."""
    return keyed_hash("dovetail_notify.session", session_key)


def object_session(credential: Any) -> str | None:
    """What stands for a credential that has a key of its own: with its revocation the sockets end that it opened.

    By ``pk`` or ``id`` alone: what authenticates and what is later revoked may be objects of two classes.
    """
    key = getattr(credential, "pk", None) or getattr(credential, "id", None)
    # Hashed: a token of DRF's has its secret as its primary key.
    return None if key is None else keyed_hash("dovetail_notify.credential", str(key))
