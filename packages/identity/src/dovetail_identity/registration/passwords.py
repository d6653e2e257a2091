"""Password changes, and password resets by a link in a mail."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import password_changed, validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from rest_framework_simplejwt.settings import api_settings

from dovetail_core.accounts import accounts_with, has_field
from dovetail_core.events import emit
from dovetail_identity import events, mail
from dovetail_identity.conf import conf
from dovetail_identity.exceptions import InvalidOrExpired
from dovetail_identity.registration.link_tokens import user_of_reset_token
from dovetail_identity.sessions.revocation import RevocationReason, revoke_all_sessions
from dovetail_identity.sessions.tokens import alias_of

logger = logging.getLogger("dovetail.identity")


@sensitive_variables("current_password", "new_password")
def change_password(
    user: AbstractBaseUser, *, current_password: str, new_password: str, keep: UUID | None = None
) -> None:
    """Set a new password and end all sessions except ``keep``. Emits ``user.password_changed``.

    Raises ``ValidationError`` with the key ``current_password`` for a wrong, and ``new_password`` for a weak password.
    """
    wrong_password = ValidationError({"current_password": [_("This is not your current password.")]})
    if not user.check_password(current_password):
        raise wrong_password
    check_strength(new_password, user, "new_password")
    using = alias_of(user)
    with transaction.atomic(using=using):
        if not _store(user, new_password, using):
            raise wrong_password
        emit(events.USER_PASSWORD_CHANGED, actor=user, target=user, data={"by": "change"}, using=using)
        revoke_all_sessions(user, reason=RevocationReason.PASSWORD_CHANGED, keep=keep)


def request_password_reset(address: str) -> None:
    """Mail a link to the active account with this address, unless no account or several accounts have it.

    Takes one query in all cases. As in Django, accounts without a usable password get no mail, because another system
    may manage their passwords.
    """
    accounts = accounts_with(address, active_only=True)
    if not conf.PASSWORD_RESET_URL:
        logger.error("No mail was sent: IDENTITY_PASSWORD_RESET_URL is not set.")
    elif len(accounts) > 1:
        logger.warning("No mail was sent: several rows of %s have the address.", get_user_model()._meta.label)
    elif accounts and api_settings.USER_AUTHENTICATION_RULE(accounts[0]) and accounts[0].has_usable_password():
        mail.schedule("password_reset", accounts[0], using=alias_of(accounts[0]))


@sensitive_variables("token", "password")
def reset_password(*, token: str, password: str) -> None:
    """Set a password with the token from a mail, and end all sessions. Emits ``user.password_changed``.

    Raises ``InvalidOrExpired`` for the token, and ``ValidationError`` with the key ``password`` for a weak password.
    """
    user = user_of_reset_token(token)
    if not api_settings.USER_AUTHENTICATION_RULE(user):
        raise InvalidOrExpired
    check_strength(password, user, "password")
    # The link was sent to the address of the account, so this also verifies the address.
    unverified = has_field(user, "email_verified_at") and user.email_verified_at is None
    verified = {"email_verified_at": timezone.now()} if unverified else {}
    using = alias_of(user)
    with transaction.atomic(using=using):
        if not _store(user, password, using, **verified):
            raise InvalidOrExpired
        emit(events.USER_PASSWORD_CHANGED, actor=user, target=user, data={"by": "reset"}, using=using)
        revoke_all_sessions(user, reason=RevocationReason.PASSWORD_RESET)


def check_strength(password: str, user: AbstractBaseUser, field: str) -> None:
    try:
        validate_password(password, user)  # type: ignore[arg-type]  # the plugin knows one user model
    except ValidationError as error:
        raise ValidationError({field: error.messages}) from error


def _store(user: AbstractBaseUser, password: str, using: str, **values: Any) -> bool:
    """Store a password in one statement. Return False if the password has changed since ``user`` was loaded."""
    stamps = [field for field in user._meta.concrete_fields if getattr(field, "auto_now", False)]
    values |= {field.attname: field.pre_save(user, False) for field in stamps}
    hashed = make_password(password)
    rows = user.__class__._base_manager.using(using).filter(pk=user.pk, password=user.password)
    if not rows.update(password=hashed, **values):
        return False
    user.password = hashed
    # Validators may keep a history. AbstractBaseUser.save(), which is not called here, would notify them.
    password_changed(password, user)  # type: ignore[arg-type]  # as above
    return True
