"""Helpers for the tests of projects that use this package."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from django.core import mail

#: Settings for ``override_settings(**WITHOUT_LIMITS)``: mail is sent at once, without limits.
WITHOUT_LIMITS: Final[dict[str, Any]] = {
    "MAGIC_LINK_MAIL_DISPATCH": "dovetail_magiclink.mail.deliver",
    "MAGIC_LINK_REQUESTS_PER_ADDRESS": (),
    "MAGIC_LINK_REQUESTS_PER_NETWORK": (),
    "MAGIC_LINK_REQUESTS_PER_SITE": (),
    "MAGIC_LINK_FAILURES_PER_NETWORK": (),
    "MAGIC_LINK_RISK_BUDGET": (),
}


def mailed_link(index: int = -1) -> str:
    """The link of a mail in Django's test outbox, by default the last. Raises ``AssertionError``.

    Mail leaves after commit: run the request in a transactional test or inside ``captureOnCommitCallbacks``, with
    ``MAGIC_LINK_MAIL_DISPATCH = "dovetail_magiclink.mail.deliver"``.
    """
    if not mail.outbox:
        raise AssertionError("No mail was sent.")
    link = re.search(r"https?://\S+[?&]token=\S+", str(mail.outbox[index].body))
    if link is None:
        raise AssertionError("The mail has no link with a token.")
    return link[0]


def mailed_code(index: int = -1) -> str:
    """The 8-digit code of a mail in the outbox. See :func:`mailed_link`."""
    return _parameters(mailed_link(index))["token"][0]


def mailed_key(index: int = -1) -> str:
    """The secret (``k``) of the link in a mail in the outbox. See :func:`mailed_link`."""
    return _parameters(mailed_link(index))["k"][0]


def _parameters(link: str) -> dict[str, list[str]]:
    parts = urlsplit(link)
    return parse_qs(parts.query or parts.fragment.partition("?")[2])
