"""Token issuers, which turn a user into the answer of ``magic/verify/``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.module_loading import import_string

from dovetail_magiclink.conf import conf

Issuer = Callable[..., Mapping[str, Any] | None]

_SIMPLEJWT = "dovetail_magiclink.contrib.simplejwt.issue_tokens"


def token_issuer() -> Issuer:
    """``MAGIC_LINK_TOKEN_ISSUER``. By default simplejwt's pair if that is installed, else Django's session."""
    chosen: Issuer | None = conf.TOKEN_ISSUER
    if chosen is None and find_spec("rest_framework_simplejwt") is not None:
        chosen = import_string(_SIMPLEJWT)
    return chosen or django_session


def django_session(user: Any, *, request: HttpRequest, amr: Sequence[str]) -> Mapping[str, Any]:
    """Sign ``user`` in to Django's session, by a cookie. The answer is empty.

    Raises ``PermissionDenied`` for a request from a page of another site.
    """
    if _is_foreign(request):
        raise PermissionDenied
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    return {}


def _is_foreign(request: HttpRequest) -> bool:
    """Whether the request comes from a page of another site.

    A form there could sign its visitors in to the account of its author, who then reads what they enter. A CSRF token
    does not help, because clients without cookies have none. Browsers send the origin of a request.
    """
    if request.headers.get("Sec-Fetch-Site") != "cross-site":
        return False
    origin = urlsplit(request.headers.get("Origin", ""))
    for trusted in map(urlsplit, settings.CSRF_TRUSTED_ORIGINS):
        host = trusted.netloc
        same = origin.netloc == host or (host.startswith("*") and origin.netloc.endswith(host[1:]))
        if same and origin.scheme == trusted.scheme:
            return False
    return True
