from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from rest_framework import serializers

from dovetail_core.rest.fields import EmailField, TextField

User = get_user_model()


class RequestSerializer(serializers.Serializer[Any]):
    """``{"email"}`` to ``{"request_id"}``."""

    # A single address: a list in one string would send the mail to others as well (CVE-2022-35924).
    email = EmailField(write_only=True, max_length=254)
    request_id = serializers.UUIDField(read_only=True)


class _Proof(TextField):
    """Any text. Text that cannot be a proof gets the same response as a wrong proof."""

    def __init__(self, **options: Any) -> None:
        super().__init__(write_only=True, allow_blank=True, **options)

    def run_validators(self, value: object) -> None:
        pass


class VerifySerializer(serializers.Serializer[Any]):
    """``{"token", "k"?, "request_id"?, "email"?}``, where ``token`` is the code and optional if ``k`` is sent.

    Lists are rejected: they would put many guesses into one request (OWASP API2:2023).
    """

    token = _Proof(required=False)
    k = _Proof(required=False, allow_null=True)
    request_id = _Proof(required=False, allow_null=True)
    email = _Proof(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "token" not in attrs and not attrs.get("k"):
            raise serializers.ValidationError({"token": self.fields["token"].error_messages["required"]})
        return attrs


def _sources() -> dict[str, str]:
    """Map the keys of the JSON representation to the model's fields, without keys that have no field."""
    columns = {field.name for field in User._meta.concrete_fields}
    sources = {"id": "pk", "email": getattr(User, "EMAIL_FIELD", "email")}
    sources |= {name: name for name in ("first_name", "last_name")}
    return {key: source for key, source in sources.items() if source in columns | {"pk"}}


class UserSerializer(serializers.ModelSerializer[Any]):
    """The signed-in user, for any user model."""

    class Meta:
        model = User
        fields = tuple(_sources())
        read_only_fields = fields
        extra_kwargs = {key: {"source": source} for key, source in _sources().items() if key != source}
