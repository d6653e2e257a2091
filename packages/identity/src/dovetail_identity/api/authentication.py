from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from rest_framework_simplejwt import authentication
from rest_framework_simplejwt.exceptions import InvalidToken
from rest_framework_simplejwt.tokens import Token


class JWTAuthentication(authentication.JWTAuthentication):
    """``Authorization: Bearer <access>``, in one query. 401 for any token whose user is gone or inactive."""

    def get_user(self, validated_token: Token) -> Any:
        try:
            return super().get_user(validated_token)
        except (ValidationError, ValueError, TypeError) as error:
            # "42" from the time before the primary key became a UUID; simplejwt's own class answers it with a 500.
            raise InvalidToken from error
