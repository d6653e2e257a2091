"""The sessions of a user of any model, and the user of a token."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from dovetail_identity.models import Session
from dovetail_identity.sessions.tokens import session_id_of


def alias_of(user: AbstractBaseUser) -> str:
    """Return the alias of the database to which ``user`` is written."""
    return router.db_for_write(user.__class__, instance=user)


def sessions_of(user: AbstractBaseUser) -> QuerySet[Session]:
    return Session._base_manager.using(alias_of(user)).filter(user=user.pk)


def live_sessions(user: AbstractBaseUser) -> QuerySet[Session]:
    """Return the sessions of ``user`` that have neither been revoked nor expired."""
    return sessions_of(user).filter(revoked_at=None, expires_at__gt=timezone.now())


def user_of_token(token: Token, **annotations: Any) -> Any:
    """Return the user of a verified token, or None."""
    model = get_user_model()
    # From the database for writes, because a replica may not have a sign-in or sign-out yet.
    users = model._default_manager.using(router.db_for_write(model)).annotate(**annotations)
    try:
        return users.get(**{api_settings.USER_ID_FIELD: token.get(api_settings.USER_ID_CLAIM)})
    except (model.DoesNotExist, ValidationError, ValueError, TypeError):
        # Other errors than DoesNotExist occur for an id like "42" after the primary key was changed to a UUID.
        return None


def user_and_session_state(token: Token, condition: Q | None = None) -> Any:
    """Return the user of a verified token, or None, in one query. Includes users who may not sign in.

    The attribute ``identity_session_is_live`` of the user is True if the session of the token is live and matches
    ``condition``.
    """
    session = Session._base_manager.filter(
        condition or Q(), pk=session_id_of(token), user=OuterRef("pk"), revoked_at=None, expires_at__gt=timezone.now()
    )
    return user_of_token(token, identity_session_is_live=Exists(session))


def check_sign_in_allowed(user: AbstractBaseUser | None, token: Token) -> None:
    """Raise ``TokenError`` if ``user`` is None or may not sign in.

    With simplejwt's ``CHECK_REVOKE_TOKEN``, also raise it for a token that is older than the password.
    """
    if user is None or not api_settings.USER_AUTHENTICATION_RULE(user):
        raise TokenError(_("No active account found for the given token."))
    revocable = api_settings.CHECK_REVOKE_TOKEN
    if revocable and token.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
        raise TokenError(_("The user's password has been changed."))
