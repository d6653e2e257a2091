"""Changing a password, and setting a new one by an e-mailed link."""

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

from dovetail_core.events import emit
from dovetail_identity import events, mail
from dovetail_identity.accounts import account_with
from dovetail_identity.conf import conf
from dovetail_identity.sessions import Ended, alias_of, has_field, revoke_all_sessions
from dovetail_identity.tokens import InvalidOrExpired, user_of_reset_token

logger = logging.getLogger("dovetail.identity")


@sensitive_variables("current_password", "new_password")
def change_password(user: Any, *, current_password: str, new_password: str, keep: UUID | None = None) -> None:
    """Set another password and end every session but ``keep``. Emits ``user.password_changed``.

    Raises ``ValidationError`` by ``current_password`` where that is not it, and by ``new_password`` where that is weak.
    """
    if not user.check_password(current_password):
        raise ValidationError({"current_password": [_("This is not your current password.")]})
    _validate(new_password, user, "new_password")
    using = alias_of(user)
    with transaction.atomic(using=using):
        if not _write(user, new_password, using):
            raise ValidationError({"current_password": [_("This is not your current password.")]})
        emit(events.USER_PASSWORD_CHANGED, actor=user, target=user, data={"by": "change"}, using=using)
        revoke_all_sessions(user, reason=Ended.PASSWORD_CHANGED, keep=keep)


def request_password_reset(address: str) -> None:
    """Mail a link to the account that has this address; where none or several have it, nothing happens.

    One query and no more work either way. Accounts without a usable password get none, as in Django: their passwords
    may be another system's.
    """
    user = account_with(address)
    if not conf.PASSWORD_RESET_URL:
        logger.error("No mail was sent: IDENTITY_PASSWORD_RESET_URL names no page to link to.")
    elif user is not None and user.has_usable_password():
        mail.schedule("password_reset", user, using=alias_of(user))


@sensitive_variables("token", "password")
def reset_password(*, token: str, password: str) -> None:
    """Set a password by the token of a mail, once, and end every session. Emits ``user.password_changed``.

    Raises ``InvalidOrExpired``, and ``ValidationError`` by ``password`` where that is weak.
    """
    user = user_of_reset_token(token)
    if not api_settings.USER_AUTHENTICATION_RULE(user):
        raise InvalidOrExpired
    _validate(password, user, "password")
    # Who follows a mailed link has proved that the address is theirs.
    unproved = has_field(user, "email_verified_at") and user.email_verified_at is None
    proved = {"email_verified_at": timezone.now()} if unproved else {}
    using = alias_of(user)
    with transaction.atomic(using=using):
        if not _write(user, password, using, **proved):
            raise InvalidOrExpired
        emit(events.USER_PASSWORD_CHANGED, actor=user, target=user, data={"by": "reset"}, using=using)
        revoke_all_sessions(user, reason=Ended.PASSWORD_RESET)


def _write(user: Any, password: str, using: str, **values: Any) -> bool:
    """One statement, which fails where the password is not any more what this request has seen."""
    stamps = [field for field in user._meta.concrete_fields if getattr(field, "auto_now", False)]
    values |= {field.attname: field.pre_save(user, False) for field in stamps}
    hashed = make_password(password)
    rows = user.__class__._base_manager.using(using).filter(pk=user.pk, password=user.password)
    if not rows.update(password=hashed, **values):
        return False
    user.password = hashed
    # Validators that keep a history are told, as AbstractBaseUser.save tells them.
    password_changed(password, user)
    return True


def _validate(password: str, user: Any, name: str) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({name: error.messages}) from error
