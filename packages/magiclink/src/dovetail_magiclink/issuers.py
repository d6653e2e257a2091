"""What turns a user into the answer of ``magic/verify/``."""

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
    """``MAGIC_LINK_TOKEN_ISSUER``; without one simplejwt's pair where it is installed, else Django's session."""
    chosen: Issuer | None = conf.TOKEN_ISSUER
    if chosen is None and find_spec("rest_framework_simplejwt") is not None:
        chosen = import_string(_SIMPLEJWT)
    return chosen or django_session


def django_session(user: Any, *, request: HttpRequest, amr: Sequence[str]) -> Mapping[str, Any]:
    """Sign ``user`` in to Django's session. The answer holds nothing of it: the cookie does.

    Raises ``PermissionDenied`` for a page of another site.
    """
    if _is_foreign(request):
        raise PermissionDenied
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    return {}


def _is_foreign(request: HttpRequest) -> bool:
    """A form of another site could sign its visitor in to the account of whoever wrote it, to see what they enter.

    No CSRF token stands here, because clients without cookies have none. Browsers say where a request comes from.
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
