"""Test helpers for projects that use this package."""

from __future__ import annotations

import re
from urllib.parse import unquote

from django.contrib.auth.base_user import AbstractBaseUser
from django.core import mail
from rest_framework.test import APIClient
from rest_framework_simplejwt.settings import api_settings

from dovetail_identity.services import Tokens, issue_tokens


def sign_in(client: APIClient, user: AbstractBaseUser) -> Tokens:
    """Authenticate further requests of ``client`` as ``user`` with an access token. Return the token pair."""
    tokens = issue_tokens(user, request=None)
    client.credentials(**{api_settings.AUTH_HEADER_NAME: f"{api_settings.AUTH_HEADER_TYPES[0]} {tokens['access']}"})
    return tokens


def mailed_token(index: int = -1) -> str:
    """Return the token in the link of a mail in Django's test outbox, by default the last mail.

    Mail is sent after commit: make the request in a transactional test or in ``captureOnCommitCallbacks``, with
    ``IDENTITY_MAIL_DISPATCH = "dovetail_identity.mail.deliver"``. Raises ``AssertionError`` without such a mail.
    """
    if not mail.outbox:
        raise AssertionError("No mail was sent.")
    link = re.search(r"[?&]token=(\S+)", str(mail.outbox[index].body))
    if link is None:
        raise AssertionError("The mail does not contain a link with a token.")
    return unquote(link[1])
