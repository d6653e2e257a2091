"""JSON Web Tokens (RFC 7519) of sessions, their users, and the sessions of a user of any model."""

from __future__ import annotations

from typing import Any, Final, TypedDict
from uuid import UUID, uuid5

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from dovetail_identity.models import Session

SESSION_CLAIM: Final = "sid"  # OpenID Connect Front-Channel Logout 1.0
GENERATION_CLAIM: Final = "gen"


class Tokens(TypedDict):
    access: str
    refresh: str


class RefreshToken(simplejwt.RefreshToken):
    """simplejwt's refresh token with a session in place of the blacklist, which stores tokens in clear text."""

    no_copy_claims: Any = (*simplejwt.RefreshToken.no_copy_claims, GENERATION_CLAIM)

    def check_blacklist(self) -> None:
        pass

    def set_position(self, session_id: UUID, generation: int) -> None:
        self[SESSION_CLAIM] = str(session_id)
        self[GENERATION_CLAIM] = generation
        self[api_settings.JTI_CLAIM] = uuid5(session_id, str(generation)).hex

    @property
    def position(self) -> tuple[UUID, int]:
        """The id of the session and the generation. Raises ``TokenError`` if a claim is missing or invalid."""
        generation = self.get(GENERATION_CLAIM)
        if type(generation) is not int or not 0 < generation < 2**31 - 1:
            raise TokenError(_("Token is invalid"))
        return session_id_of(self), generation


def first_refresh_token(user: AbstractBaseUser) -> RefreshToken:
    # Not RefreshToken.for_user, which stores the token in the database if simplejwt's blacklist app is installed.
    return Token.for_user.__func__(RefreshToken, user)  # type: ignore[attr-defined, no-any-return]  # of a classmethod


def session_id_of(token: object) -> UUID:
    """Return the session id of a token or of ``request.auth``. Raise ``TokenError`` if it has none."""
    try:
        return UUID(token.get(SESSION_CLAIM))  # type: ignore[attr-defined]  # other objects raise AttributeError
    except (AttributeError, TypeError, ValueError):
        raise TokenError(_("Token is invalid")) from None


def alias_of(user: AbstractBaseUser) -> str:
    return router.db_for_write(user.__class__, instance=user)


def sessions_of(user: AbstractBaseUser) -> QuerySet[Session]:
    return Session._base_manager.using(alias_of(user)).filter(user=user.pk)


def live_sessions(user: AbstractBaseUser) -> QuerySet[Session]:
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
