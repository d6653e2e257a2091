"""Where a request comes from: the host and network, the site, and the person, of whom there must be one."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host
from rest_framework.authentication import CSRFCheck
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from dovetail_adminapi.api.refusals import AmbiguousCredentials, CSRFFailed, ElsewhereNotFound
from dovetail_adminapi.conf import conf
from dovetail_core.net import client_address


def require_place(request: HttpRequest) -> None:
    """Raise 404 for a host or network that does not serve the admin API, before anything reveals that it exists."""
    if conf.HOSTS and not validate_host(split_domain_port(_host(request))[0], conf.HOSTS):
        raise ElsewhereNotFound
    if conf.NETWORKS:
        address = client_address(request)
        networks = _networks(tuple(conf.NETWORKS))
        if address is None or not any(address in network for network in networks):
            raise ElsewhereNotFound


def _host(request: HttpRequest) -> str:
    try:
        return request.get_host()
    except DisallowedHost:
        return ""


@lru_cache(maxsize=8)
def _networks(values: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(map(ip_network, values))


def require_same_site(request: HttpRequest) -> None:
    """Raise 403 for requests that a page of another site causes, whatever their credential.

    Browsers set both headers, and pages cannot change them (Fetch 3.2, Fetch Metadata). A client that is no browser
    sends none, and has no cookies that others could use.
    """
    origin = request.META.get("HTTP_ORIGIN")
    if origin is not None and origin in conf.ORIGINS:
        return
    if request.META.get("HTTP_SEC_FETCH_SITE") == "cross-site":
        raise CSRFFailed
    if origin is not None and request.method not in SAFE_METHODS and urlsplit(origin).netloc != _host(request):
        raise CSRFFailed


def require_csrf_token(request: Request) -> None:
    """Raise 403 for an unsafe request by a session without its CSRF token.

    REST framework's own class does so too. Projects often replace it by one that does not.
    """
    meta = request.META
    if request.method in SAFE_METHODS or (request.auth is not None and "HTTP_AUTHORIZATION" in meta):
        return
    if session_user(request._request) is not None and fails_csrf(request._request):
        raise CSRFFailed


def fails_csrf(request: HttpRequest) -> bool:
    check: Any = CSRFCheck(lambda request: None)  # type: ignore[arg-type]  # get_response is not called
    check.process_request(request)
    return check.process_view(request, None, (), {}) is not None


def require_one_person(request: Request) -> None:
    """Raise 400 if a token and a session belong to different people.

    The attack: the record names one of them, and the person at the browser is the other.
    """
    in_session = session_user(request._request)
    if in_session is None:
        return
    if in_session != _key(request.user):
        raise AmbiguousCredentials
    if "HTTP_AUTHORIZATION" in request.META and request.auth is None:
        # The session came first, and nobody has read the token.
        for authenticator in request.authenticators or ():
            if authenticator is request.successful_authenticator:
                continue
            answer = authenticator.authenticate(request)
            if answer is not None and _key(answer[0]) != in_session:
                raise AmbiguousCredentials


def session_user(request: HttpRequest) -> str | None:
    """Return the primary key of the user of the session as text. Requests without its cookie load no session."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return None
    session = getattr(request, "session", None)
    value = None if session is None else session.get(SESSION_KEY)
    return None if value is None else str(value)


def _key(user: Any) -> str:
    meta = getattr(user, "_meta", None)
    return str(user.pk) if meta is None else str(meta.pk.value_to_string(user))
