"""Helpers for the tests of projects that use this package."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from django.core import mail
from rest_framework.test import APIClient
from rest_framework_simplejwt.settings import api_settings

from dovetail_identity.services import Tokens, issue_tokens


def sign_in(client: APIClient, user: Any) -> Tokens:
    """Authenticate every further request of ``client`` as ``user``, by an access token. Returns the pair."""
    tokens = issue_tokens(user, request=None)
    client.credentials(**{api_settings.AUTH_HEADER_NAME: f"{api_settings.AUTH_HEADER_TYPES[0]} {tokens['access']}"})
    return tokens


def mailed_token(index: int = -1) -> str:
    """Return the token of the link in a mail of Django's test outbox, by default the last. Raises ``AssertionError``.

    Mail leaves after commit: run the request in a transactional test or inside ``captureOnCommitCallbacks``, with
    ``IDENTITY_MAIL_DISPATCH = "dovetail_identity.mail.deliver"``.
    """
    if not mail.outbox:
        raise AssertionError("No mail was sent.")
    link = re.search(r"[?&]token=(\S+)", str(mail.outbox[index].body))
    if link is None:
        raise AssertionError("The mail has no link with a token.")
    return unquote(link[1])
