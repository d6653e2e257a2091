"""The session and the expiry of a request's credential, with which its sockets end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dovetail_core.secrets import keyed_hash


def credential_of(request: Any) -> tuple[str | None, datetime | None]:
    """Return the session and the expiry of a DRF request's credential; either may be None.

    For a token with claims, such as simplejwt's, they are ``sid`` and ``exp``. For an object, such as an API key, they
    are :func:`object_session` and its ``expires_at``. For a Django session, they are a hash of its key and its expiry.
    """
    claims = getattr(request.auth, "payload", request.auth)
    if isinstance(claims, dict):
        expires = claims.get("exp")
        session = claims.get("sid")
        return (str(session) if session else None), (
            datetime.fromtimestamp(expires, UTC) if isinstance(expires, int | float) else None
        )
    if request.auth is not None and not isinstance(request.auth, str | bytes):
        # A row, such as an API key or one of DRF's tokens.
        expires_at = getattr(request.auth, "expires_at", None)
        return object_session(request.auth), expires_at if isinstance(expires_at, datetime) else None
    session = getattr(request, "session", None)
    if request.auth is None and session is not None and session.session_key:
        return session_hash(session.session_key), session.get_expiry_date()
    return None, None


def session_hash(session_key: str) -> str:
    """Return the id of a Django session in tickets and messages. Its key itself would sign somebody in."""
    return keyed_hash("dovetail_notify.session", session_key)


def object_session(credential: Any) -> str | None:
    """Return the session id of a credential object. Revoking the credential closes the sockets of this session.

    Derived from ``pk`` or ``id`` alone: the credential and the revoked row may be objects of two classes.
    """
    key = getattr(credential, "pk", None) or getattr(credential, "id", None)
    # Hashed, because the primary key of DRF's tokens is their secret.
    return None if key is None else keyed_hash("dovetail_notify.credential", str(key))
