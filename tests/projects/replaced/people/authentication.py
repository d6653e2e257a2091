from __future__ import annotations

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from people.models import AccessToken, Person


class TokenAuthentication(BaseAuthentication):
    """``Authorization: Person <key>``."""

    def authenticate(self, request: Request) -> tuple[Person, AccessToken] | None:
        scheme, _, key = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme != "Person":
            return None
        token = AccessToken.objects.filter(key=key, person__is_active=True).select_related("person").first()
        if token is None:
            raise AuthenticationFailed("Unknown token.")
        return token.person, token

    def authenticate_header(self, request: Request) -> str:
        return "Person"
