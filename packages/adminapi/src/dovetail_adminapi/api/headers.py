"""The headers of every response of the admin API (OWASP ASVS 5.0 3.4), errors included."""

from __future__ import annotations

from typing import Final

from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def harden(response: HttpResponseBase, policy: str | None = None) -> None:
    """Set the headers, with another content security policy for a page that needs scripts."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    if policy is not None:
        response.headers["Content-Security-Policy"] = policy
    patch_vary_headers(response, ("Authorization", "Cookie"))
