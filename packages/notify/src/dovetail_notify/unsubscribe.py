"""Links with which one click turns off what a mail was about (RFC 8058), without signing in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core import signing
from django.core.exceptions import ValidationError

from dovetail_notify.models import Mode
from dovetail_notify.preferences import required_channels, set_preference
from dovetail_notify.types import registry

# Signed and not stored: a link in an old mail must work for as long as somebody has the mail.
_SALT = "dovetail_notify.unsubscribe"


class InvalidLink(ValueError):
    """Not a link of ours, or of an account that is gone."""


def unsubscribe_token(user: Any, type_key: str, channel: str) -> str:
    return signing.dumps([str(user.pk), type_key, channel], salt=_SALT).replace(":", "~")


def read_token(token: str) -> tuple[Any, str, str]:
    """User, type and channel. Raises ``InvalidLink``."""
    try:
        key, type_key, channel = signing.loads(token.replace("~", ":"), salt=_SALT)
        user = get_user_model()._default_manager.filter(pk=key).first()
    except (signing.BadSignature, ValidationError, ValueError, TypeError):
        raise InvalidLink from None
    if user is None:
        raise InvalidLink
    return user, type_key, channel


def unsubscribe(token: str) -> None:
    """Turn the type's channel off for the person the mail went to. Raises ``InvalidLink``."""
    user, type_key, channel = read_token(token)
    cls = registry.get(type_key)
    if cls is not None and channel in required_channels(cls):
        return  # has become required since the mail: it says so itself, and the page still answers
    set_preference(user=user, channel=channel, mode=Mode.OFF, type_key=type_key)
