"""Helpers for your own tests."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from django.core import mail

#: For ``override_settings(**WITHOUT_LIMITS)``: send mail at once and without limits.
WITHOUT_LIMITS: Final[dict[str, Any]] = {
    "MAGIC_LINK_MAIL_DISPATCH": "dovetail_magiclink.mail.deliver",
    "MAGIC_LINK_REQUESTS_PER_ADDRESS": (),
    "MAGIC_LINK_REQUESTS_PER_NETWORK": (),
    "MAGIC_LINK_REQUESTS_PER_SITE": (),
    "MAGIC_LINK_FAILURES_PER_NETWORK": (),
    "MAGIC_LINK_RISK_BUDGET": (),
}


def mailed_link(index: int = -1) -> str:
    """Return the link of a mail in Django's test outbox, by default of the last. Raise ``AssertionError`` without one.

    Mail is sent after commit. Run the request in a ``TransactionTestCase`` or inside ``captureOnCommitCallbacks``, with
    ``MAGIC_LINK_MAIL_DISPATCH = "dovetail_magiclink.mail.deliver"``.
    """
    if not mail.outbox:
        raise AssertionError("No mail was sent.")
    link = re.search(r"https?://\S+[?&]token=\S+", str(mail.outbox[index].body))
    if link is None:
        raise AssertionError("The mail has no link with a token.")
    return link[0]


def mailed_code(index: int = -1) -> str:
    """Return the 8-digit code of a mail in the outbox. See :func:`mailed_link`."""
    return _parameters(mailed_link(index))["token"][0]


def mailed_key(index: int = -1) -> str:
    """Return the secret (``k``) of the link of a mail in the outbox. See :func:`mailed_link`."""
    return _parameters(mailed_link(index))["k"][0]


def _parameters(link: str) -> dict[str, list[str]]:
    parts = urlsplit(link)
    return parse_qs(parts.query or parts.fragment.partition("?")[2])
