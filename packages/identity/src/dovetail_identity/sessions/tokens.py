"""JSON Web Tokens (RFC 7519) of sessions."""

from __future__ import annotations

from typing import Any, Final, TypedDict
from uuid import UUID, uuid5

from django.contrib.auth.base_user import AbstractBaseUser
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token

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
    """Return a refresh token of ``user`` without a session."""
    # Not RefreshToken.for_user, which stores the token in the database if simplejwt's blacklist app is installed.
    return Token.for_user.__func__(RefreshToken, user)  # type: ignore[attr-defined, no-any-return]  # of a classmethod


def session_id_of(token: object) -> UUID:
    """Return the session id of a token or of ``request.auth``. Raise ``TokenError`` if it has none."""
    try:
        return UUID(token.get(SESSION_CLAIM))  # type: ignore[attr-defined]  # other objects raise AttributeError
    except (AttributeError, TypeError, ValueError):
        raise TokenError(_("Token is invalid")) from None
