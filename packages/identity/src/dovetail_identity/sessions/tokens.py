"""The JSON Web Tokens of a session."""

from __future__ import annotations

from typing import Any, Final, TypedDict, TypeVar
from uuid import UUID, uuid5

from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token

T = TypeVar("T", bound=Token)

SESSION_CLAIM: Final = "sid"  # OpenID Connect Front-Channel Logout 1.0
GENERATION_CLAIM: Final = "gen"


class Tokens(TypedDict):
    access: str
    refresh: str


class RefreshToken(simplejwt.RefreshToken):
    """simplejwt's refresh token without its blacklist and its outstanding tokens, which stores tokens as they are sent.

    The session's row takes the place of both.
    """

    no_copy_claims: Any = (*simplejwt.RefreshToken.no_copy_claims, GENERATION_CLAIM)

    def check_blacklist(self) -> None:
        pass

    def set_position(self, session_id: UUID, generation: int) -> None:
        self[SESSION_CLAIM] = str(session_id)
        self[GENERATION_CLAIM] = generation
        self[api_settings.JTI_CLAIM] = uuid5(session_id, str(generation)).hex

    @property
    def position(self) -> tuple[UUID, int]:
        """The session and the generation. Raises ``TokenError`` for a token without them."""
        generation = self.get(GENERATION_CLAIM)
        if type(generation) is not int or not 0 < generation < 2**31 - 1:
            raise TokenError(_("Token is invalid"))
        return session_id_of(self), generation


def first_refresh_token(user: Any) -> RefreshToken:
    """A refresh token of ``user`` without a session yet."""
    # RefreshToken.for_user is the blacklist's where its app is installed, and stores the token in a row.
    return Token.for_user.__func__(RefreshToken, user)  # type: ignore[attr-defined, no-any-return]  # of a classmethod


def session_id_of(token: Any) -> UUID:
    """The session that a token (or ``request.auth``) belongs to. Raises ``TokenError`` if it names none."""
    try:
        return UUID(token.get(SESSION_CLAIM))
    except (AttributeError, TypeError, ValueError):
        raise TokenError(_("Token is invalid")) from None


def parse(kind: type[T], encoded: Any) -> T:
    """Verify an encoded token. Raises ``TokenError`` for one that is malformed, forged, expired or of another kind."""
    # encoded is Any because simplejwt annotates the string that it takes as a Token.
    return kind(encoded)
