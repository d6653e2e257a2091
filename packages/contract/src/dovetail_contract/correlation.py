"""The id that a request, its log lines, its errors and its background work have in common."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject, empty

from dovetail_contract.conf import conf
from dovetail_core import context
from dovetail_core.conf import conf as core
from dovetail_core.secrets import keyed_hashes

HEADER = "X-Request-ID"
_PURPOSE = "dovetail_contract.principal.1"
# What is longer or has other signs in it is not taken on, echoed or logged: it goes into log lines and headers.
_VALID = re.compile(r"[A-Za-z0-9._-]{8,64}")

#: Every header of the contract that scripts in a browser may want to read.
HEADERS = (
    "Deprecation",
    "Idempotency-Key",
    "Idempotent-Replayed",
    "Link",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Sunset",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    HEADER,
)


@dataclass(frozen=True, slots=True)
class Inbound:
    """``trusted`` is taken on as the id of the request; ``client`` is what a client sent that may not name it."""

    trusted: str | None = None
    client: str | None = None


_NOTHING = Inbound()


def inbound(request: HttpRequest) -> Inbound:
    header = request.META.get("HTTP_X_REQUEST_ID")
    if header is None:
        return _NOTHING
    given = header.partition(",")[0].strip()
    if not _VALID.fullmatch(given):
        return _NOTHING
    if conf.REQUEST_ID_TRUST == "everyone" or (conf.REQUEST_ID_TRUST == "proxies" and _from_proxy(request)):
        return Inbound(trusted=given)
    return Inbound(client=given)


def _from_proxy(request: HttpRequest) -> bool:
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return any(address in ip_network(network, strict=False) for network in core.TRUSTED_PROXIES)


def exposed(response: HttpResponseBase) -> None:
    """Name the contract's headers to scripts of other origins, beside those that are named already."""
    if "Access-Control-Allow-Origin" not in response.headers:
        return
    names = [name.strip() for name in response.headers.get("Access-Control-Expose-Headers", "").split(",")]
    known = {name.lower() for name in names}
    names += [name for name in HEADERS if name in response.headers and name.lower() not in known]
    response.headers["Access-Control-Expose-Headers"] = ", ".join(filter(None, names))


def outgoing() -> dict[str, str]:
    """Headers that hand the id on in a call to another service."""
    request_id = context.request_id()
    return {HEADER: request_id} if request_id else {}


_request: ContextVar[HttpRequest | None] = ContextVar("dovetail_contract_request", default=None)
_api_key: ContextVar[str | None] = ContextVar("dovetail_contract_api_key", default=None)
_ORGANIZATION = "_dovetail_organization_id"


@contextmanager
def bound(*, request: HttpRequest | None = None, api_key: str | None = None) -> Iterator[None]:
    """For a block: the request whose caller log lines name, or the key that a task's request came with."""
    # Set back and not reset by token, for the reason that dovetail_core.context.bind has.
    previous = _request.get(), _api_key.get()
    _request.set(request)
    _api_key.set(api_key)
    try:
        yield
    finally:
        _request.set(previous[0])
        _api_key.set(previous[1])


def remember(request: HttpRequest) -> None:
    """Keep the organization with the request, for what is said of it after whoever set it has taken it back."""
    organization_id = context.organization_id()
    if organization_id is not None:
        setattr(request, _ORGANIZATION, organization_id)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, by keys alone: no name, address or secret. ``api_key`` is the public prefix of a key."""

    organization_id: str | None = None
    principal_id: str | None = None
    api_key: str | None = None

    @property
    def kind(self) -> str:
        """``api_key``, ``user`` or ``nobody``."""
        return "api_key" if self.api_key is not None else "nobody" if self.principal_id is None else "user"


def caller(request: HttpRequest | None = None) -> Caller:
    """Who acts: as the context says, else whom ``request`` (default: the present one) was authenticated as.

    What is not known yet is None: nobody is authenticated, and no query asked, for the sake of a log line.
    """
    request = request or _request.get()
    user, credential = _authenticated(request)
    organization = context.organization_id()
    if organization is None:
        organization = getattr(request, _ORGANIZATION, None)
    if organization is None:
        organization = getattr(credential, "organization_id", None)
    principal = context.principal()
    principal = user if principal is None else principal
    api_key = getattr(credential, "prefix", None) if isinstance(credential, context.Credential) else _api_key.get()
    return Caller(_key(organization), _key(getattr(principal, "pk", principal)), _key(api_key))


def _authenticated(request: HttpRequest | None) -> tuple[Any, Any]:
    """``request.user`` and ``request.auth``, which REST framework sets on Django's request when it knows them."""
    held = {} if request is None else vars(request)
    user = held.get("user")
    if isinstance(user, LazyObject):
        # A session's that nobody has asked for yet: a look at it would be a query.
        user = held.get("_acached_user") if vars(user)["_wrapped"] is empty else user
    return (user if getattr(user, "is_authenticated", False) else None), held.get("auth")


def _key(value: Any) -> str | None:
    if value is None:
        return None
    text = str(value)
    # The key of a user model may be an e-mail address, which is for no log.
    return f"hashed:{next(iter(keyed_hashes(_PURPOSE, text)))[:16]}" if "@" in text else text


class ContextFilter(logging.Filter):
    """Gives every log record ``request_id``, ``organization_id``, ``principal_id`` and ``api_key``: strings or None.

    ``principal_id`` is a user's primary key or ``apikey:`` and a key's id; ``api_key`` the public prefix of a key. Put
    it on handlers: a filter on a logger does not see what its children log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        # Django logs refusals when the request is over, and hands it along.
        own = getattr(record, "request", None)
        request = own if isinstance(own, HttpRequest) else None
        by = caller(request)
        values = {
            "request_id": context.request_id() or getattr(request, "request_id", None),
            "organization_id": by.organization_id,
            "principal_id": by.principal_id,
            "api_key": by.api_key,
        }
        for name, value in values.items():
            # A caller's own word on it stands.
            if getattr(record, name, None) is None:
                setattr(record, name, value)
        return True
