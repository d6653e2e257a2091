"""Who opens a socket: by a ticket, by what ``REST_FRAMEWORK`` authenticates requests with, or by a session's cookie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from io import BytesIO
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user, get_user_model
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest
from django.utils import timezone
from django.utils.http import is_same_domain
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.settings import api_settings

from dovetail_notify.conf import conf
from dovetail_notify.inbox import organization_keys
from dovetail_notify.protocol import (
    EXPIRED,
    FORBIDDEN,
    NO_PROTOCOL,
    PROTOCOL,
    TICKET_PREFIX,
    UNAUTHENTICATED,
    Refused,
)
from dovetail_notify.tickets import Admission, redeem_ticket, redeem_tickets

_TICKET = re.compile(r"[A-Za-z0-9_-]{20,100}", re.ASCII)


Admitted = tuple[Admission, frozenset[str] | None]
"""Whose socket it is, and of which organizations it tells; None for all."""


def admit_all(scopes: Sequence[dict[str, Any]]) -> list[Admitted | Exception]:
    """Each one's, or why there is none: ``Refused``, or what went wrong with it alone.

    Tickets by two queries for all that show one; whatever the project authenticates requests with, and its hooks, are
    asked of each.
    """
    shown = [_shown(scope) for scope in scopes]
    tickets = [each for each in shown if isinstance(each, tuple)]
    redeemed = iter(redeem_tickets(tickets) if tickets else ())
    return [
        _admitted(scope, next(redeemed) if isinstance(each, tuple) else each)
        for scope, each in zip(scopes, shown, strict=True)
    ]


_BY_REQUEST: Final = "request"


def _shown(scope: dict[str, Any]) -> tuple[str, str | None] | Refused | str:
    """A ticket and the origin that shows it, or that there is none."""
    offered = list(scope.get("subprotocols") or ())
    if PROTOCOL not in offered:
        return Refused(NO_PROTOCOL, "protocol")
    tickets = [each.removeprefix(TICKET_PREFIX) for each in offered if each.startswith(TICKET_PREFIX)]
    if len(tickets) != 1:
        return _BY_REQUEST
    if not _TICKET.fullmatch(tickets[0]):
        return Refused(UNAUTHENTICATED, "unauthenticated")
    return tickets[0], header(scope, b"origin")


def _admitted(scope: dict[str, Any], found: Admission | Refused | str | None) -> Admitted | Exception:
    try:
        if isinstance(found, Refused):
            raise found
        if found is None:
            raise Refused(UNAUTHENTICATED, "unauthenticated")
        admission = found if isinstance(found, Admission) else by_request(scope)
        return admission, organizations_of(admission)
    except Exception as error:  # noqa: BLE001  # a hook that fails for one lets the others in
        return error


def organizations_of(admission: Admission) -> frozenset[str] | None:
    """None for all. Raises ``Refused`` for a credential that is over, or for an organization that is not the user's."""
    if admission.expires_at is not None and admission.expires_at <= timezone.now():
        raise Refused(EXPIRED, "expired")
    keys = organization_keys(admission.user)
    if admission.organization_key is not None and keys is not None and admission.organization_key not in keys:
        raise Refused(FORBIDDEN, "membership_removed")
    return None if keys is None else frozenset(keys)


def by_ticket(ticket: Any, origin: str | None) -> Admission:
    if not isinstance(ticket, str) or not _TICKET.fullmatch(ticket):
        raise Refused(UNAUTHENTICATED, "unauthenticated")
    admission = redeem_ticket(ticket, origin=origin)
    if admission is None:
        raise Refused(UNAUTHENTICATED, "unauthenticated")
    return admission


def by_request(scope: dict[str, Any]) -> Admission:
    http = _http_request(scope)
    classes: Any = api_settings.DEFAULT_AUTHENTICATION_CLASSES
    try:
        request = Request(http, authenticators=[each() for each in classes])
        user = request.user
        if not isinstance(user, get_user_model()) or not getattr(user, "is_active", True):
            raise Refused(UNAUTHENTICATED, "unauthenticated")
        return admission_of(request)
    except (PermissionDenied, Http404, exceptions.PermissionDenied, exceptions.NotFound) as error:
        raise Refused(FORBIDDEN, "membership_removed") from error  # the resolver's: an organization of others
    except exceptions.APIException as error:
        raise Refused(UNAUTHENTICATED, "unauthenticated") from error


def admission_of(request: Request) -> Admission:
    """With what the credential of a request admits to a socket or stream."""
    session, expires_at = conf.CREDENTIAL(request)
    organization = conf.ORGANIZATION_RESOLVER(request) if conf.ORGANIZATION_RESOLVER else None
    organization = getattr(organization, "pk", organization)
    return Admission(request.user, None if organization is None else str(organization), str(session or ""), expires_at)


def renewed(present: Admission, ticket: Any, origin: str | None) -> Admission:
    """What a further ticket admits to, of the same person for the same organization."""
    admission = by_ticket(ticket, origin)
    same = (present.user.pk, present.organization_key) == (admission.user.pk, admission.organization_key)
    if not same:
        raise Refused(FORBIDDEN, "other_account")
    organizations_of(admission)
    return admission


def header(scope: dict[str, Any], name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name), None)


def _http_request(scope: dict[str, Any]) -> HttpRequest:
    """As the project's authentication classes know it: without the query string, in which a secret would be logged."""
    headers = [(key.lower(), value) for key, value in scope["headers"]]
    # A page cannot set this header: what has one is no browser that a foreign page has lent its cookies to.
    by_header = header(scope, b"authorization") is not None
    if by_header:
        headers = [(key, value) for key, value in headers if key != b"cookie"]
    request = ASGIRequest(
        {**scope, "type": "http", "method": "GET", "headers": headers, "query_string": b""}, BytesIO()
    )
    if not by_header and any(key == b"cookie" for key, _ in headers):
        # Cookies go with a socket that any site opens (cross-site WebSocket hijacking), and CORS does not hold there.
        if not _trusted(header(scope, b"origin"), header(scope, b"host")):
            raise Refused(FORBIDDEN, "origin")
        if "django.contrib.sessions" in settings.INSTALLED_APPS:
            engine = import_module(settings.SESSION_ENGINE)
            request.session = engine.SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
            request.user = get_user(request)
    return request


def _trusted(origin: str | None, host: str | None) -> bool:
    """The host's own page, or one of ``CSRF_TRUSTED_ORIGINS``."""
    parts = urlsplit(origin or "")
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return False
    if parts.netloc.lower() == (host or "").lower():
        return True
    for each in settings.CSRF_TRUSTED_ORIGINS:
        trusted = urlsplit(each)
        if trusted.scheme == parts.scheme and is_same_domain(parts.netloc, trusted.netloc.lstrip("*")):
            return True
    return False
