"""Authenticating sockets: by a ticket, by the authentication classes of ``REST_FRAMEWORK``, or by a session cookie.

A browser's WebSocket cannot send an Authorization header, and URLs are logged. Therefore a signed-in request gets a
ticket, and the socket sends it as a subprotocol. A ticket opens one socket. It is random and valid once, for seconds.
Only its keyed hash is stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from importlib import import_module
from io import BytesIO
from itertools import chain
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user, get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, router, transaction
from django.http import Http404, HttpRequest
from django.utils import timezone
from django.utils.http import is_same_domain
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.settings import api_settings

from dovetail_core.accounts import may_sign_in
from dovetail_core.secrets import keyed_hash, keyed_hashes, random_token
from dovetail_core.transactions import retry_on_conflict
from dovetail_notify.conf import conf
from dovetail_notify.inbox.reading import organization_keys, requested_organization
from dovetail_notify.models import Ticket
from dovetail_notify.realtime import protocol
from dovetail_notify.realtime.protocol import Refused

TICKET_SECONDS: Final = 30
# How far the clocks of two servers may differ. Otherwise, a server whose clock is half a minute ahead would refuse
# every ticket of the others.
_CLOCK_SKEW: Final = timedelta(seconds=30)

_PURPOSE = "dovetail_notify.ticket"
_TICKET = re.compile(r"[A-Za-z0-9_-]{20,100}", re.ASCII)


class Admission(NamedTuple):
    """A socket's user and organization (None: all of the user's), and the session and time at which it ends."""

    user: AbstractBaseUser
    organization_key: str | None
    session: str
    expires_at: datetime | None


Admitted = tuple[Admission, frozenset[str] | None]
"""The admission of a socket, and the organizations that it shows; None for all."""


def admit_all(scopes: Sequence[dict[str, Any]]) -> list[Admitted | Exception]:
    """Return for each scope its admission, or the exception that refuses it.

    Two queries for all tickets together. The project's authentication classes and hooks are called for each scope.
    """
    credentials = [_credential(scope) for scope in scopes]
    redeemed = iter(redeem_tickets([credential for credential in credentials if isinstance(credential, tuple)]))
    return [_admit(scope, credential, redeemed) for scope, credential in zip(scopes, credentials, strict=True)]


def _credential(scope: dict[str, Any]) -> tuple[str, str | None] | Refused | None:
    """Return a ticket and the page's origin, None without a ticket, or a refusal."""
    offered = list(scope.get("subprotocols") or ())
    if protocol.PROTOCOL not in offered:
        return Refused(protocol.NO_PROTOCOL, "protocol")
    prefix = protocol.TICKET_PREFIX
    tickets = [name.removeprefix(prefix) for name in offered if name.startswith(prefix)]
    if len(tickets) != 1:
        return None
    if not _TICKET.fullmatch(tickets[0]):
        return Refused(protocol.UNAUTHENTICATED, "unauthenticated")
    return tickets[0], header(scope, b"origin")


def _admit(
    scope: dict[str, Any], credential: tuple[str, str | None] | Refused | None, redeemed: Iterator[Admission | None]
) -> Admitted | Exception:
    try:
        if isinstance(credential, Refused):
            raise credential
        admission = authenticate_request(scope) if credential is None else next(redeemed)
        if admission is None:
            raise Refused(protocol.UNAUTHENTICATED, "unauthenticated")
        return admission, visible_organizations(admission)
    except Exception as error:  # noqa: BLE001  # a hook that fails for one socket must not refuse the others
        return error


def visible_organizations(admission: Admission) -> frozenset[str] | None:
    """Return the organizations that a socket shows, or None for all.

    Raise ``Refused`` if the credential has expired, or if the user is not a member of the admission's organization.
    """
    if admission.expires_at is not None and admission.expires_at <= timezone.now():
        raise Refused(protocol.EXPIRED, "expired")
    keys = organization_keys(admission.user)
    if admission.organization_key is not None and keys is not None and admission.organization_key not in keys:
        raise Refused(protocol.FORBIDDEN, "membership_removed")
    return keys


def authenticate_request(scope: dict[str, Any]) -> Admission:
    http = _http_request(scope)
    classes: Any = api_settings.DEFAULT_AUTHENTICATION_CLASSES
    try:
        request = Request(http, authenticators=[authenticator() for authenticator in classes])
        user = request.user
        if not isinstance(user, get_user_model()) or not may_sign_in(user):
            raise Refused(protocol.UNAUTHENTICATED, "unauthenticated")
        return admission_of(request)
    except (PermissionDenied, Http404, exceptions.PermissionDenied, exceptions.NotFound) as error:
        # The organization resolver refuses organizations of which the user is not a member.
        raise Refused(protocol.FORBIDDEN, "membership_removed") from error
    except exceptions.APIException as error:
        raise Refused(protocol.UNAUTHENTICATED, "unauthenticated") from error


def admission_of(request: Request) -> Admission:
    session, expires_at = conf.CREDENTIAL(request)
    user: Any = request.user
    return Admission(user, requested_organization(request), str(session or ""), expires_at)


def renew(current: Admission, ticket: object, origin: str | None) -> Admission:
    """Return the admission of a new ticket, which must be for the same user and organization."""
    valid = isinstance(ticket, str) and _TICKET.fullmatch(ticket)
    admission = redeem_ticket(str(ticket), origin=origin) if valid else None
    if admission is None:
        raise Refused(protocol.UNAUTHENTICATED, "unauthenticated")
    if (current.user.pk, current.organization_key) != (admission.user.pk, admission.organization_key):
        raise Refused(protocol.FORBIDDEN, "other_account")
    visible_organizations(admission)
    return admission


def header(scope: dict[str, Any], name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name), None)


def _http_request(scope: dict[str, Any]) -> HttpRequest:
    """Return the handshake as a request for the project's authentication classes.

    The query string is left out, because credentials in it would be logged.
    """
    headers = [(key.lower(), value) for key, value in scope["headers"]]
    # Pages cannot set this header on a WebSocket. The client is therefore not a browser that another site controls.
    has_header = header(scope, b"authorization") is not None
    if has_header:
        headers = [(key, value) for key, value in headers if key != b"cookie"]
    request = ASGIRequest(
        {**scope, "type": "http", "method": "GET", "headers": headers, "query_string": b""}, BytesIO()
    )
    if not has_header and any(key == b"cookie" for key, _ in headers):
        # Browsers send cookies with sockets that any site opens; CORS does not apply (cross-site WebSocket hijacking).
        if not _trusted(header(scope, b"origin"), header(scope, b"host")):
            raise Refused(protocol.FORBIDDEN, "origin")
        if apps.is_installed("django.contrib.sessions"):
            engine = import_module(settings.SESSION_ENGINE)
            request.session = engine.SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
            # get_user() returns an AnonymousUser, a class that cannot be imported without the app.
            if apps.is_installed("django.contrib.auth"):
                request.user = get_user(request)
    return request


def _trusted(origin: str | None, host: str | None) -> bool:
    """Return whether the origin is the host itself or one of ``CSRF_TRUSTED_ORIGINS``."""
    parts = urlsplit(origin or "")
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return False
    if parts.netloc.lower() == (host or "").lower():
        return True
    return any(
        trusted.scheme == parts.scheme and is_same_domain(parts.netloc, trusted.netloc.lstrip("*"))
        for trusted in map(urlsplit, settings.CSRF_TRUSTED_ORIGINS)
    )


@retry_on_conflict
def issue_ticket(
    *,
    user: AbstractBaseUser,
    organization_key: str | None = None,
    session: str | None = None,
    expires_at: datetime | None = None,
    origin: str | None = None,
) -> str:
    """Return a new ticket, valid for ``TICKET_SECONDS``, and for 30 more because clocks differ.

    The socket ends with ``session`` and at ``expires_at``. With ``origin``, the ticket is only valid for pages of this
    origin. Raise ``Vanished`` if the user is deleted.
    """
    ticket = random_token()
    Ticket(
        digest=keyed_hash(_PURPOSE, ticket),
        user_id=user.pk,
        organization_key=organization_key,
        session=session or "",
        origin=_origin(origin),
        credential_expires_at=expires_at,
        expires_at=timezone.now() + timedelta(seconds=TICKET_SECONDS) + _CLOCK_SKEW,
    ).save(using=router.db_for_write(Ticket), force_insert=True)
    return ticket


def redeem_ticket(ticket: str, *, origin: str | None = None) -> Admission | None:
    """Use a ticket. Return None if it is unknown, used or expired, for another origin, or of an inactive account."""
    return redeem_tickets([(ticket, origin)])[0]


def redeem_tickets(tickets: Sequence[tuple[str, str | None]]) -> list[Admission | None]:
    """Use several tickets, each with the origin of its page, like ``redeem_ticket()``. Two queries in all."""
    using = router.db_for_write(Ticket)
    digests = [list(keyed_hashes(_PURPOSE, ticket)) for ticket, _ in tickets]
    rows = Ticket.objects.using(using).filter(digest__in=list(chain(*digests))).select_related("user")
    by_digest = {row.digest: row for row in rows}
    # Only the first of several equal tickets gets the row.
    matches = [
        next((by_digest.pop(digest) for digest in candidates if digest in by_digest), None) for candidates in digests
    ]
    deleted = _delete_tickets(sorted(row.pk for row in matches if row is not None), using)
    return [
        _ticket_admission(row, origin) if row is not None and row.pk in deleted else None
        for row, (_, origin) in zip(matches, tickets, strict=True)
    ]


def _delete_tickets(keys: list[int], using: str) -> set[int]:
    """Return the keys of the rows that this call has deleted. If two processes use a ticket, one of them deletes it."""
    rows = Ticket.objects.using(using)
    if len(keys) > 1:
        # suppress() also ends a deadlock of two processes with the same tickets in a different order.
        with suppress(DatabaseError), transaction.atomic(using=using):
            if rows.filter(pk__in=keys)._raw_delete(using) == len(keys):
                return set(keys)
            # Another process has just used one of the tickets, and a row count does not tell which one. Delete them one
            # by one, so that a ticket that is used twice does not refuse other sockets.
            transaction.set_rollback(True, using=using)
    return {key for key in keys if rows.filter(pk=key)._raw_delete(using)}


def _ticket_admission(row: Ticket, origin: str | None) -> Admission | None:
    if row.origin and origin is not None and row.origin != _origin(origin):
        return None
    if row.expires_at < timezone.now() or not may_sign_in(row.user):
        return None
    return Admission(row.user, row.organization_key, row.session, row.credential_expires_at)


def _origin(value: str | None) -> str:
    return (value or "").lower()[:200]
