"""Every rule that writes. Works with any ``AUTH_USER_MODEL``."""

from __future__ import annotations

from dovetail_magiclink.services.limits import TooManyRequests
from dovetail_magiclink.services.requests import MagicLinkRequest, purge_magic_links, request_magic_link, supersede
from dovetail_magiclink.services.verification import SignIn, last_magic_sign_in, sign_in, verify

__all__ = [
    "MagicLinkRequest",
    "SignIn",
    "TooManyRequests",
    "last_magic_sign_in",
    "purge_magic_links",
    "request_magic_link",
    "sign_in",
    "supersede",
    "verify",
]
