"""The caller of a request in log lines and events: primary keys only, without a query."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from dovetail_core import context
from dovetail_core.secrets import keyed_hashes

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
