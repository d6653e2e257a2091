"""The session and the expiry of a request's credential. Sockets end with both."""

from __future__ import annotations

from datetime import UTC, datetime

from rest_framework.request import Request

from dovetail_core.secrets import keyed_hash


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
