from __future__ import annotations

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import Token, User


class TokenAuthentication(BaseAuthentication):
    """``Authorization: Token <key>``."""

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        scheme, _, key = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme != "Token":
            return None
        token = Token.objects.select_related("person").filter(key=key, person__is_active=True).first()
        if token is None:
            raise AuthenticationFailed("Wrong token.")
        return token.person, token

    def authenticate_header(self, request: Request) -> str:
        return "Token"
