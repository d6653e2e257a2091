"""Users of any model: their database and columns, their sessions, and the user that a token names."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from dovetail_identity.models import Session
from dovetail_identity.sessions.tokens import session_id_of


def alias_of(user: Any) -> str:
    """The database that ``user`` is written to."""
    return router.db_for_write(user.__class__, instance=user)


def sessions_of(user: Any) -> Any:
    """Every session of ``user``, from the database that the user is written to."""
    return Session._base_manager.using(alias_of(user)).filter(user=user.pk)


def live_sessions(user: Any) -> Any:
    """The sessions of ``user`` that have neither ended nor expired."""
    return sessions_of(user).filter(revoked_at=None, expires_at__gt=timezone.now())


def user_named_by(token: Token, **annotations: Any) -> Any:
    """The user that a verified token names, or None."""
    model = get_user_model()
    # From the database that is written: a replica may not know of a sign-in or sign-out yet.
    users = model._default_manager.using(router.db_for_write(model)).annotate(**annotations)
    try:
        user = users.get(**{api_settings.USER_ID_FIELD: token.get(api_settings.USER_ID_CLAIM)})
    except (model.DoesNotExist, ValidationError, ValueError, TypeError):
        # The last three: an identifier such as "42" from the time before the primary key became a UUID.
        return None
    return user


def user_and_session_state(token: Token, condition: Q | None = None) -> Any:
    """The user that a verified token names, or None, in one query. Users who may not sign in are returned too.

    The attribute ``identity_session_lives`` of the user says whether the token's session is live and meets
    ``condition``.
    """
    session = Session._base_manager.filter(
        condition or Q(), pk=session_id_of(token), user=OuterRef("pk"), revoked_at=None, expires_at__gt=timezone.now()
    )
    return user_named_by(token, identity_session_lives=Exists(session))


def check_sign_in_allowed(user: Any, token: Token) -> None:
    """Raise ``TokenError`` if ``user`` is None or may not sign in.

    With simplejwt's ``CHECK_REVOKE_TOKEN``, a token that is older than the user's password is refused as well.
    """
    if not api_settings.USER_AUTHENTICATION_RULE(user):
        raise TokenError(_("No active account found for the given token."))
    revocable = api_settings.CHECK_REVOKE_TOKEN
    if revocable and token.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
        raise TokenError(_("The user's password has been changed."))
