"""Signed tokens for unsubscribe links, which turn off one type on one channel without signing in (RFC 8058)."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core import signing
from django.core.exceptions import ValidationError

from dovetail_notify.exceptions import InvalidLink

# Signed and not stored: the link of an old mail must work as long as somebody has the mail.
_SALT = "dovetail_notify.unsubscribe"


def unsubscribe_token(user: Any, type_key: str, channel: str) -> str:
    return signing.dumps([str(user.pk), type_key, channel], salt=_SALT).replace(":", "~")


def read_token(token: str) -> tuple[Any, str, str]:
    """Return the user, the type's key and the channel. Raises ``InvalidLink``."""
    try:
        key, type_key, channel = signing.loads(token.replace("~", ":"), salt=_SALT)
        user = get_user_model()._default_manager.filter(pk=key).first()
    except (signing.BadSignature, ValidationError, ValueError, TypeError):
        raise InvalidLink from None
    if user is None:
        raise InvalidLink
    return user, type_key, channel
