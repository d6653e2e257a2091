"""The id that a request, its log lines, its errors and its background work have in common."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from dovetail_contract.conf import conf
from dovetail_core import context
from dovetail_core.conf import conf as core

HEADER = "X-Request-ID"
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


class ContextFilter(logging.Filter):
    """Gives every log record ``request_id``, ``organization_id`` and ``principal_id``, as strings or None.

    Put it on handlers: a filter on a logger does not see what its children log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        principal = context.principal()
        values = {
            "request_id": context.request_id(),
            "organization_id": context.organization_id(),
            "principal_id": getattr(principal, "pk", principal),
        }
        for name, value in values.items():
            # A caller's own word on it stands.
            if getattr(record, name, None) is None:
                setattr(record, name, None if value is None else str(value))
        return True
