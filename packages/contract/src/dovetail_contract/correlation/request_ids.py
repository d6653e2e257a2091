"""``X-Request-ID``: the id of a request, on its response and on calls to other services."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from dovetail_contract.conf import conf
from dovetail_core import context
from dovetail_core.conf import conf as core

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
    if conf.REQUEST_ID_TRUST == "everyone" or (conf.REQUEST_ID_TRUST == "proxies" and _from_proxy(request)):
        return request_id, None
    return None, request_id


def _from_proxy(request: HttpRequest) -> bool:
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return any(address in ip_network(network, strict=False) for network in core.TRUSTED_PROXIES)


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
