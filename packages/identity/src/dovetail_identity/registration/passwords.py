"""Passwords: change with the current one, and reset by a mailed link."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import password_changed, validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from rest_framework_simplejwt.settings import api_settings

from dovetail_core.accounts import has_field
from dovetail_core.events import emit
from dovetail_identity import events, mail
from dovetail_identity.accounts import account_with
from dovetail_identity.conf import conf
from dovetail_identity.exceptions import InvalidOrExpired
from dovetail_identity.registration.link_tokens import user_of_reset_token
from dovetail_identity.sessions.revocation import RevocationReason, revoke_all_sessions
from dovetail_identity.sessions.users import alias_of

logger = logging.getLogger("dovetail.identity")


@sensitive_variables("current_password", "new_password")
def change_password(user: Any, *, current_password: str, new_password: str, keep: UUID | None = None) -> None:
    """Set a new password and end every session except ``keep``. Emits ``user.password_changed``.

    Raises ``ValidationError`` with the key ``current_password`` if that is wrong, and ``new_password`` if that is weak.
    """
    if not user.check_password(current_password):
        raise ValidationError({"current_password": [_("This is not your current password.")]})
    _validate(new_password, user, "new_password")
    using = alias_of(user)
    with transaction.atomic(using=using):
        if not _store(user, new_password, using):
            raise ValidationError({"current_password": [_("This is not your current password.")]})
        emit(events.USER_PASSWORD_CHANGED, actor=user, target=user, data={"by": "change"}, using=using)
        revoke_all_sessions(user, reason=RevocationReason.PASSWORD_CHANGED, keep=keep)


def request_password_reset(address: str) -> None:
    """Mail a link to the account that has this address. If no account or several have it, nothing happens.

    Both take one query. Accounts without a usable password get no mail, as in Django: another system may hold their
    passwords.
    """
    user = account_with(address)
    if not conf.PASSWORD_RESET_URL:
        logger.error("No mail was sent: IDENTITY_PASSWORD_RESET_URL names no page to link to.")
    elif user is not None and user.has_usable_password():
        mail.schedule("password_reset", user, using=alias_of(user))


@sensitive_variables("token", "password")
def reset_password(*, token: str, password: str) -> None:
    """Set a password by a mailed token, once, and end every session. Emits ``user.password_changed``.

    Raises ``InvalidOrExpired``, and ``ValidationError`` with the key ``password`` for a weak password.
    """
    user = user_of_reset_token(token)
    if not api_settings.USER_AUTHENTICATION_RULE(user):
        raise InvalidOrExpired
    _validate(password, user, "password")
    # The person followed a mailed link, so the address is theirs.
    unverified = has_field(user, "email_verified_at") and user.email_verified_at is None
    verified = {"email_verified_at": timezone.now()} if unverified else {}
    using = alias_of(user)
    with transaction.atomic(using=using):
        if not _store(user, password, using, **verified):
            raise InvalidOrExpired
        emit(events.USER_PASSWORD_CHANGED, actor=user, target=user, data={"by": "reset"}, using=using)
        revoke_all_sessions(user, reason=RevocationReason.PASSWORD_RESET)


def _store(user: Any, password: str, using: str, **values: Any) -> bool:
    """Store a password in one statement. Return False if the password is no longer the one that this request read."""
    stamps = [field for field in user._meta.concrete_fields if getattr(field, "auto_now", False)]
    values |= {field.attname: field.pre_save(user, False) for field in stamps}
    hashed = make_password(password)
    rows = user.__class__._base_manager.using(using).filter(pk=user.pk, password=user.password)
    if not rows.update(password=hashed, **values):
        return False
    user.password = hashed
    # For validators that keep a history. AbstractBaseUser.save, which is not called here, notifies them.
    password_changed(password, user)
    return True


def _validate(password: str, user: Any, name: str) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({name: error.messages}) from error
