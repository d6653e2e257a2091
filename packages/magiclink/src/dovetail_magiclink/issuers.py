"""Token issuers: functions that sign a user in and return the keys of the response of ``magic/verify/``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import load_backend, login
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.module_loading import import_string
from rest_framework.settings import api_settings

from dovetail_core.inspection import base_paths, path_of
from dovetail_magiclink.conf import conf

logger = logging.getLogger("dovetail.magiclink")

Issuer = Callable[..., Mapping[str, Any] | None]

SESSION: Final = "dovetail_magiclink.issuers.django_session"
SIMPLEJWT: Final = "dovetail_magiclink.contrib.simplejwt.issue_tokens"
IDENTITY: Final = "dovetail_identity.services.issue_tokens"

# The issuer whose result an authentication class and its subclasses accept. These are paths, because neither library
# need be installed.
_ISSUERS: Final[Mapping[str, str]] = {
    "dovetail_identity.api.authentication.JWTAuthentication": IDENTITY,
    "rest_framework_simplejwt.authentication.JWTAuthentication": SIMPLEJWT,
    "rest_framework.authentication.SessionAuthentication": SESSION,
}


def token_issuer() -> Issuer:
    """Return ``MAGIC_LINK_TOKEN_ISSUER``, or by default the issuer that the API's authentication classes accept."""
    path = issuer_path()
    if path == IDENTITY:
        issuer: Issuer = import_string("dovetail_magiclink.contrib.simplejwt.issue_session")
    else:
        issuer = conf.TOKEN_ISSUER or import_string(path)
    return issuer


def issuer_path() -> str:
    """Return the dotted path of :func:`token_issuer`, as the project writes it."""
    issuer: object = getattr(settings, "MAGIC_LINK_TOKEN_ISSUER", None)
    if issuer is None:
        # Not what is importable: a project may have simplejwt for another purpose, and nothing would accept the tokens.
        issuers = map(_issuer_of, default_authenticators())
        return next((path for path in issuers if path in {IDENTITY, SIMPLEJWT}), SESSION)
    if isinstance(issuer, str):
        return issuer
    return path_of(issuer)


def default_authenticators() -> Sequence[type]:
    # The stubs know the paths of the setting, and not that api_settings imports them.
    return cast("Sequence[type]", api_settings.DEFAULT_AUTHENTICATION_CLASSES)


def is_accepted(path: str, authenticators: Iterable[type]) -> bool:
    """Return whether any of the authentication classes accepts what the issuer gives. Unknown issuers are accepted."""
    # simplejwt's class accepts all access tokens of the project; identity's only those with a session.
    accepted_as = {IDENTITY: {IDENTITY, SIMPLEJWT}, SIMPLEJWT: {SIMPLEJWT}, SESSION: {SESSION}}.get(path)
    return accepted_as is None or any(_issuer_of(authenticator) in accepted_as for authenticator in authenticators)


def _issuer_of(authenticator: type) -> str | None:
    return next((_ISSUERS[path] for path in base_paths(authenticator) if path in _ISSUERS), None)


def django_session(user: AbstractBaseUser, *, request: HttpRequest, amr: Sequence[str]) -> Mapping[str, Any] | None:
    """Start a Django session for ``user`` and return an empty dict, or None if no backend returns the user.

    Raise ``PermissionDenied`` for a request from a page of another site.
    """
    reject_foreign(request)
    backend = _backend_of(user)
    if backend is None:
        logger.warning("A sign-in was rejected: no backend of AUTHENTICATION_BACKENDS returns the user.")
        return None
    login(request, user, backend=backend)  # type: ignore[arg-type]  # the stubs know only the concrete user model
    return {}


def _backend_of(user: AbstractBaseUser) -> str | None:
    """Return the path of the first authentication backend that returns ``user``.

    The session names the backend that loads the user for the next request. The first of the setting may only limit
    attempts, such as ``AxesStandaloneBackend``, which has no ``get_user``, or know other users only.
    """
    for path in settings.AUTHENTICATION_BACKENDS:
        get_user = getattr(load_backend(path), "get_user", None)
        if get_user is not None and get_user(user.pk) == user:
            return path
    return None


def reject_foreign(request: HttpRequest) -> None:
    """Raise ``PermissionDenied`` for a request that would change the session from a page of another site."""
    if _is_foreign(request):
        raise PermissionDenied


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
