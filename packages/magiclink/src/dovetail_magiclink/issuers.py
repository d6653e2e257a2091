"""Token issuers: functions that sign a user in and return the keys of the response of ``magic/verify/``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.module_loading import import_string

from dovetail_magiclink.conf import conf

Issuer = Callable[..., Mapping[str, Any] | None]


def token_issuer() -> Issuer:
    """Return ``MAGIC_LINK_TOKEN_ISSUER``, or by default simplejwt's pair if installed, else Django's session."""
    issuer: Issuer | None = conf.TOKEN_ISSUER
    if issuer is None and find_spec("rest_framework_simplejwt") is not None:
        issuer = import_string("dovetail_magiclink.contrib.simplejwt.issue_tokens")
    return issuer or django_session


def django_session(user: AbstractBaseUser, *, request: HttpRequest, amr: Sequence[str]) -> Mapping[str, Any]:
    """Start a Django session for ``user`` and return an empty dict.

    Raise ``PermissionDenied`` for a request from a page of another site.
    """
    if _is_foreign(request):
        raise PermissionDenied
    # The stubs of Django know only the concrete user model.
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])  # type: ignore[arg-type]
    return {}


def _is_foreign(request: HttpRequest) -> bool:
    """Tell whether the request comes from a page of another site that is not in ``CSRF_TRUSTED_ORIGINS``.

    A form on such a page could sign its visitors in to the attacker's account and so collect what they enter (login
    CSRF). CSRF tokens do not help here, because clients without cookies have none.
    """
    if request.headers.get("Sec-Fetch-Site") != "cross-site":
        return False
    origin = urlsplit(request.headers.get("Origin", ""))
    for trusted in map(urlsplit, settings.CSRF_TRUSTED_ORIGINS):
        host = trusted.netloc
        matches = origin.netloc == host or (host.startswith("*") and origin.netloc.endswith(host[1:]))
        if matches and origin.scheme == trusted.scheme:
            return False
    return True
