from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import models
from rest_framework import serializers
from rest_framework_simplejwt.exceptions import TokenError

from dovetail_core.rest.fields import FIELD_MAPPING, EmailField, TextField
from dovetail_identity.models import Session
from dovetail_identity.sessions.tokens import session_id_of

User = get_user_model()

# Longer than any real value, and bounded, because hashing and comparing cost the server and not the sender.
_LONGEST_USERNAME = max(getattr(User._meta.get_field(User.USERNAME_FIELD), "max_length", None) or 0, 254)
_LONGEST_PASSWORD = 4096
_LONGEST_TOKEN = 16384


class _Password(TextField):
    """Spaces at the ends of a password are part of it."""

    def __init__(self) -> None:
        super().__init__(
            write_only=True,
            max_length=_LONGEST_PASSWORD,
            trim_whitespace=False,
            style={"input_type": "password"},
        )


class TokenObtainSerializer(serializers.Serializer[Any]):
    """``{<USERNAME_FIELD>, "password"}`` to ``{"access", "refresh"}``."""

    password = _Password()
    access = serializers.CharField(read_only=True)
    refresh = serializers.CharField(read_only=True)

    def get_fields(self) -> dict[str, Any]:
        column = User._meta.get_field(User.USERNAME_FIELD)
        # In JSON, a number to sign in by is a number.
        kind = TextField if isinstance(column, models.CharField | models.TextField) else serializers.CharField
        name = kind(write_only=True, max_length=_LONGEST_USERNAME)
        return {User.USERNAME_FIELD: name, **super().get_fields()}


class TokenRefreshSerializer(serializers.Serializer[Any]):
    refresh = TextField(max_length=_LONGEST_TOKEN)
    access = serializers.CharField(read_only=True)


class TokenLogoutSerializer(serializers.Serializer[Any]):
    refresh = TextField(write_only=True, max_length=_LONGEST_TOKEN)


class TokenVerifySerializer(serializers.Serializer[Any]):
    token = TextField(write_only=True, max_length=_LONGEST_TOKEN)


class ChangePasswordSerializer(serializers.Serializer[Any]):
    current_password = _Password()
    new_password = _Password()


class RequestResetSerializer(serializers.Serializer[Any]):
    # No EmailField: text that is no address is an unknown address.
    email = TextField(write_only=True, max_length=_LONGEST_USERNAME)


class ConfirmResetSerializer(serializers.Serializer[Any]):
    token = TextField(write_only=True, max_length=_LONGEST_TOKEN)
    password = _Password()


class RegisterSerializer(serializers.Serializer[Any]):
    email = EmailField(write_only=True, max_length=254)
    password = _Password()
    first_name = TextField(write_only=True, required=False, allow_blank=True, max_length=150)
    last_name = TextField(write_only=True, required=False, allow_blank=True, max_length=150)


class VerifyEmailSerializer(serializers.Serializer[Any]):
    """``{"token"}`` to ``{"access", "refresh", "user"}``."""

    token = TextField(write_only=True, max_length=_LONGEST_TOKEN)
    access = serializers.CharField(read_only=True)
    refresh = serializers.CharField(read_only=True)

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), "user": UserSerializer(read_only=True)}


# What a person may change, and the order in which /me shows it.
_EDITABLE = ("first_name", "last_name", "avatar_url", "phone_number", "language", "time_zone")


def _sources() -> dict[str, str]:
    """Map the keys of a user in JSON to the fields of the model. A key without a field is left out."""
    # No relations: a model of another project may have a table of languages.
    columns = {field.name for field in User._meta.concrete_fields if not field.is_relation}
    sources = {"id": "pk", "email": getattr(User, "EMAIL_FIELD", "email")}
    sources |= {name: name for name in (*_EDITABLE, "email_verified_at", "date_joined")}
    return {key: source for key, source in sources.items() if source in columns | {"pk"}}


def _options(key: str, source: str) -> dict[str, Any]:
    options: dict[str, Any] = {} if key == source else {"source": source}
    # The name that people sign in by stays: in some projects it is the phone number.
    if key not in _EDITABLE or source in (User.USERNAME_FIELD, getattr(User, "EMAIL_FIELD", "email")):
        options["read_only"] = True
    return options


class UserSerializer(serializers.ModelSerializer[Any]):
    """A user as ``/me`` and the sign-in endpoints show it, for any user model."""

    serializer_field_mapping = FIELD_MAPPING

    class Meta:
        model = User
        fields = tuple(_sources())
        extra_kwargs = {key: _options(key, source) for key, source in _sources().items()}


class SessionSerializer(serializers.ModelSerializer[Any]):
    current = serializers.SerializerMethodField(help_text="Whether this request belongs to it.")

    class Meta:
        model = Session
        fields = ("id", "device", "address", "current", "created_at", "last_used_at", "expires_at")
        read_only_fields = fields

    def get_current(self, session: Session) -> bool:
        return session.pk == current_session(self.context["request"])


def current_session(request: Any) -> UUID | None:
    """The session of the request's access token. None for Django's sessions and other credentials."""
    try:
        return session_id_of(request.auth)
    except TokenError:
        return None
