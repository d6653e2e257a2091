"""Tokens of mailed links. They are derived from rows and ``SECRET_KEY`` (or its fallbacks), so none is stored."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer
from django.db import router
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from dovetail_identity.exceptions import InvalidOrExpired
from dovetail_identity.models import Registration


class _ResetTokens(PasswordResetTokenGenerator):
    # Django's own views do not accept our tokens, and we do not accept theirs.
    key_salt = "dovetail_identity.password_reset"


_reset_tokens = _ResetTokens()
_REGISTRATION_SALT = "dovetail_identity.registration"


def reset_token(user: Any) -> str:
    """A token that is valid for ``PASSWORD_RESET_TIMEOUT`` seconds.

    It ends when the password, the address or ``last_login`` changes.
    """
    return f"{urlsafe_base64_encode(force_bytes(str(user.pk)))}.{_reset_tokens.make_token(user)}"


def user_of_reset_token(token: str) -> Any:
    """The user that a reset token was made for. Raises ``InvalidOrExpired``."""
    key, _, proof = token.partition(".")
    model: Any = get_user_model()
    try:
        pk = urlsafe_base64_decode(key).decode()
        user = model._default_manager.using(router.db_for_write(model)).get(pk=pk)
    except (model.DoesNotExist, ValidationError, ValueError, TypeError, OverflowError):
        raise InvalidOrExpired from None
    if not _reset_tokens.check_token(user, proof):
        raise InvalidOrExpired
    return user


def registration_token(registration: Registration) -> str:
    return Signer(salt=_REGISTRATION_SALT).sign(registration.pk.hex)


def registration_of_token(token: str) -> UUID:
    try:
        return UUID(Signer(salt=_REGISTRATION_SALT).unsign(token))
    except (BadSignature, ValueError):
        raise InvalidOrExpired from None
