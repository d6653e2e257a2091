"""Signed tokens of unsubscribe links, which turn off one type on one channel without a sign-in (RFC 8058)."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import Model

from dovetail_notify.exceptions import InvalidLink

# Signed and not stored, because the link in an old mail must work as long as the mail exists.
_SALT = "dovetail_notify.unsubscribe"


def unsubscribe_token(user: Model, type_key: str, channel: str) -> str:
    return signing.dumps([str(user.pk), type_key, channel], salt=_SALT).replace(":", "~")


def read_token(token: str) -> tuple[AbstractBaseUser, str, str]:
    """Return the user, the type's key and the channel. Raise ``InvalidLink`` for an invalid token."""
    try:
        key, type_key, channel = signing.loads(token.replace("~", ":"), salt=_SALT)
        user = get_user_model()._default_manager.filter(pk=key).first()
    except (signing.BadSignature, ValidationError, ValueError, TypeError):
        raise InvalidLink from None
    if user is None:
        raise InvalidLink
    return user, type_key, channel
