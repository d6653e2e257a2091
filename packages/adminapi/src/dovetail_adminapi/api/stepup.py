"""Whether the caller has signed in recently enough for a critical operation (OWASP ASVS 5.0 7.5.3)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.http import HttpRequest
from rest_framework.request import Request

from dovetail_adminapi.api.refusals import ReauthenticationRequired
from dovetail_adminapi.conf import conf
from dovetail_adminapi.permissions.claims import claims_of, seconds_of

SESSION_KEY: Final = "_dovetail_adminapi_auth_time"
#: Seconds by which the clock of an issuer may be ahead.
_LEEWAY: Final = 60


def remember_sign_in(sender: object, request: HttpRequest | None, **kwargs: Any) -> None:
    """Write the time of a sign-in to the session. A receiver of ``user_logged_in``."""
    session = getattr(request, "session", None)
    if session is not None:
        session[SESSION_KEY] = int(time.time())


def require_recent_sign_in(request: Request) -> None:
    """Raise ``ReauthenticationRequired`` (401) unless the caller has signed in within the allowed seconds."""
    signed_in = _signed_in_at(request)
    recent = signed_in is not None and -_LEEWAY <= time.time() - signed_in <= conf.REAUTHENTICATE_SECONDS
    if not recent or not _is_strong(claims_of(request.auth)):
        raise ReauthenticationRequired


def _signed_in_at(request: Request) -> float | None:
    """Return the time of the sign-in: the claim ``auth_time``, which a refresh does not renew, or that of the session.

    None without either. ``last_login`` is not used: another sign-in of the same person, in another browser, renews it,
    and would let a stolen session pass.
    """
    if request.auth is not None:
        return seconds_of(claims_of(request.auth), "auth_time")
    session = getattr(request._request, "session", None)
    value = None if session is None else session.get(SESSION_KEY)
    return value if isinstance(value, int) else None


def _is_strong(claims: Mapping[str, Any]) -> bool:
    required = conf.REAUTHENTICATE_AMR
    methods = claims.get("amr")
    if not required:
        return True
    return isinstance(methods, Sequence) and not isinstance(methods, str) and not set(required).isdisjoint(methods)
