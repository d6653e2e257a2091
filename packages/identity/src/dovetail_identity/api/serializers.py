from __future__ import annotations

import copy
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import models
from django.utils.translation import get_language
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework_simplejwt.exceptions import TokenError

from dovetail_core.conf import cached_until_settings_change
from dovetail_core.rest.fields import FIELD_MAPPING, EmailField, TextField
from dovetail_identity.models import Session
from dovetail_identity.sessions.tokens import session_id_of

User = get_user_model()

# Longer than any real value. Limited, because the server must hash and compare whatever a client sends.
_LONGEST_USERNAME = max(getattr(User._meta.get_field(User.USERNAME_FIELD), "max_length", None) or 0, 254)
_LONGEST_PASSWORD = 4096
_LONGEST_TOKEN = 16384


class _Password(TextField):
    def __init__(self) -> None:
        style = {"input_type": "password"}
        super().__init__(write_only=True, max_length=_LONGEST_PASSWORD, trim_whitespace=False, style=style)


class TokenObtainSerializer(serializers.Serializer[Any]):
    """Accepts ``{<USERNAME_FIELD>, "password"}`` and returns ``{"access", "refresh"}``."""

    password = _Password()
    access = serializers.CharField(read_only=True)
    refresh = serializers.CharField(read_only=True)

    def get_fields(self) -> dict[str, Any]:
        column = User._meta.get_field(User.USERNAME_FIELD)
        # A numeric username is a number in JSON.
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
    # Not an EmailField: an invalid address is treated as unknown.
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
    """Accepts ``{"token"}`` and returns ``{"access", "refresh", "user"}``."""

    token = TextField(write_only=True, max_length=_LONGEST_TOKEN)
    access = serializers.CharField(read_only=True)
    refresh = serializers.CharField(read_only=True)

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), "user": UserSerializer(read_only=True)}


# The fields that users may change, in the order of the representation.
_EDITABLE = ("first_name", "last_name", "avatar_url", "phone_number", "language", "time_zone")


def _sources() -> dict[str, str]:
    """Map keys in JSON to fields of the user model, without keys that the model lacks."""
    # Without relations: a project's language may be a foreign key.
    columns = {field.name for field in User._meta.concrete_fields if not field.is_relation}
    sources = {"id": "pk", "email": getattr(User, "EMAIL_FIELD", "email")}
    sources |= {name: name for name in (*_EDITABLE, "email_verified_at", "date_joined")}
    return {key: source for key, source in sources.items() if source in columns | {"pk"}}


def _options(key: str, source: str) -> dict[str, Any]:
    options: dict[str, Any] = {} if key == source else {"source": source}
    # Users cannot change the field with which they sign in. In some projects it is the phone number.
    if key not in _EDITABLE or source in (User.USERNAME_FIELD, getattr(User, "EMAIL_FIELD", "email")):
        options["read_only"] = True
    return options


class UserSerializer(serializers.ModelSerializer[Any]):
    """The representation of a user, for any user model."""

    serializer_field_mapping = FIELD_MAPPING

    class Meta:
        model = User
        fields = tuple(_sources())
        extra_kwargs = {key: _options(key, source) for key, source in _sources().items()}

    def get_fields(self) -> dict[str, Any]:
        # To build them took a third of the time of GET /me. A subclass of the project may have other fields for each
        # request.
        if type(self) is not UserSerializer:
            return super().get_fields()
        return {key: _copy(field) for key, field in _user_fields(get_language()).items()}


def _copy(field: Any) -> Any:
    # deepcopy() also copies the choices, such as 600 time zones, which no field changes.
    return copy.deepcopy(field, {id(choices): choices for choices in (field._kwargs.get("choices"),) if choices})


@cached_until_settings_change
def _user_fields(language: str) -> dict[str, Any]:
    """Return the fields, whose labels are in the active ``language``."""
    return super(UserSerializer, UserSerializer()).get_fields()


class SessionSerializer(serializers.ModelSerializer[Any]):
    current = serializers.SerializerMethodField(help_text="Whether this is the session of the request.")

    class Meta:
        model = Session
        fields = ("id", "device", "address", "current", "created_at", "last_used_at", "expires_at")
        read_only_fields = fields

    def get_current(self, session: Session) -> bool:
        return session.pk == current_session(self.context["request"])


def current_session(request: Request) -> UUID | None:
    """Return the session id of the request's access token, or None with another authentication."""
    try:
        return session_id_of(request.auth)
    except TokenError:
        return None
