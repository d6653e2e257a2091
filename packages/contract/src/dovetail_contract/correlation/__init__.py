"""The id of a request and its caller, for logs, errors and background work.

Callers are named by primary keys only, without a query.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject, empty

from dovetail_contract.conf import conf
from dovetail_core import context
from dovetail_core.net import is_from_trusted_proxy
from dovetail_core.secrets import keyed_hashes

HEADER = "X-Request-ID"
# Ids are written to log lines and headers, so longer ids and other characters are never accepted, echoed or logged.
_VALID = re.compile(r"[A-Za-z0-9._-]{8,64}")

#: The headers of this package that scripts in a browser may read.
EXPOSED_HEADERS = (
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


def received_id(request: HttpRequest) -> tuple[str | None, str | None]:
    """Return the valid id of a trusted sender, and that of an untrusted one. At least one of them is None."""
    header = request.META.get("HTTP_X_REQUEST_ID")
    request_id = "" if header is None else header.partition(",")[0].strip()
    if not _VALID.fullmatch(request_id):
        return None, None
    if conf.REQUEST_ID_TRUST == "everyone" or (conf.REQUEST_ID_TRUST == "proxies" and is_from_trusted_proxy(request)):
        return request_id, None
    return None, request_id


def expose_headers(response: HttpResponseBase) -> None:
    """Add this package's headers to ``Access-Control-Expose-Headers`` of a cross-origin response."""
    if "Access-Control-Allow-Origin" not in response.headers:
        return
    names = [name.strip() for name in response.headers.get("Access-Control-Expose-Headers", "").split(",")]
    present = {name.lower() for name in names}
    names += [name for name in EXPOSED_HEADERS if name in response.headers and name.lower() not in present]
    response.headers["Access-Control-Expose-Headers"] = ", ".join(filter(None, names))


def outgoing() -> dict[str, str]:
    """Return the headers that pass the current request id to another service."""
    request_id = context.request_id()
    return {HEADER: request_id} if request_id else {}


_PURPOSE = "dovetail_contract.principal.1"
_request: ContextVar[HttpRequest | None] = ContextVar("dovetail_contract_request", default=None)
_api_key: ContextVar[str | None] = ContextVar("dovetail_contract_api_key", default=None)
_ORGANIZATION = "_dovetail_organization_id"


@contextmanager
def bind_caller(*, request: HttpRequest | None = None, api_key: str | None = None) -> Iterator[None]:
    """Set the current request for a block; or, in a task, the API key of the request that started the task."""
    # Restored by value and not by token, for the reason in dovetail_core.context.bind.
    previous = _request.get(), _api_key.get()
    _request.set(request)
    _api_key.set(api_key)
    try:
        yield
    finally:
        _request.set(previous[0])
        _api_key.set(previous[1])


def remember_organization(request: HttpRequest) -> None:
    """Store the context's organization on the request, for log lines after the context is reset."""
    organization_id = context.organization_id()
    if organization_id is not None:
        setattr(request, _ORGANIZATION, organization_id)


@dataclass(frozen=True, slots=True)
class Caller:
    """Primary keys only: no name, address or secret. ``api_key`` is the public prefix of a key."""

    organization_id: str | None = None
    principal_id: str | None = None
    api_key: str | None = None

    @property
    def kind(self) -> str:
        """``api_key``, ``user`` or ``nobody``."""
        return "api_key" if self.api_key is not None else "nobody" if self.principal_id is None else "user"


def caller(request: HttpRequest | None = None) -> Caller:
    """Return the caller from the context, else from the authentication of ``request`` (default: the current one).

    Unknown values are None: this function authenticates nobody and makes no query.
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
    """Return ``request.user`` and ``request.auth``, which REST framework sets on Django's request."""
    attributes = {} if request is None else vars(request)
    user = attributes.get("user")
    if isinstance(user, LazyObject):
        # Evaluating the lazy user of a session would be a query.
        user = attributes.get("_acached_user") if vars(user)["_wrapped"] is empty else user
    return (user if getattr(user, "is_authenticated", False) else None), attributes.get("auth")


def _key(value: object) -> str | None:
    if value is None:
        return None
    text = str(value)
    # The primary key of a user model may be an e-mail address, which must not be logged.
    return f"hashed:{next(iter(keyed_hashes(_PURPOSE, text)))[:16]}" if "@" in text else text


class ContextFilter(logging.Filter):
    """Adds ``request_id``, ``organization_id``, ``principal_id`` and ``api_key`` to log records: strings or None.

    ``principal_id`` is the primary key of a user, or ``apikey:`` and the id of a key; ``api_key`` is the public prefix
    of a key. Add the filter to handlers: a filter on a logger does not see records of its child loggers.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        # Django logs error responses after the request ends, and attaches the request to the record.
        logged_request = getattr(record, "request", None)
        request = logged_request if isinstance(logged_request, HttpRequest) else None
        sender = caller(request)
        values = {
            "request_id": context.request_id() or getattr(request, "request_id", None),
            "organization_id": sender.organization_id,
            "principal_id": sender.principal_id,
            "api_key": sender.api_key,
        }
        for name, value in values.items():
            # Attributes that the logging call sets itself take precedence.
            if getattr(record, name, None) is None:
                setattr(record, name, value)
        return True
