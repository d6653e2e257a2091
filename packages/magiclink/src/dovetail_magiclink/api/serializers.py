from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from rest_framework import serializers

from dovetail_magiclink.api.fields import EmailField, TextField

User = get_user_model()


class RequestSerializer(serializers.Serializer[Any]):
    """``{"email"}`` to ``{"request_id"}``."""

    # One address: a list in one string is how one person's mail goes to another as well (CVE-2022-35924).
    email = EmailField(write_only=True, max_length=254)
    request_id = serializers.UUIDField(read_only=True)


class _Proof(TextField):
    """Any text: what cannot be a proof is wrong like one that is not, and gets the same answer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(write_only=True, allow_blank=True, **options)

    def run_validators(self, value: Any) -> None:
        pass


class VerifySerializer(serializers.Serializer[Any]):
    """``{"token", "k"?, "request_id"?, "email"?}`` to the user, and what the token issuer gives.

    ``token`` is the code, and may be left out beside ``k``. One at a time: a list would make one request of many
    guesses (OWASP API2:2023).
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
    """The keys of a user in JSON and the model's names for them; a key that it has no field for is left out."""
    has = {field.name for field in User._meta.concrete_fields}
    named = {"id": "pk", "email": getattr(User, "EMAIL_FIELD", "email")}
    named |= {name: name for name in ("first_name", "last_name")}
    return {key: source for key, source in named.items() if source in has | {"pk"}}


class UserSerializer(serializers.ModelSerializer[Any]):
    """Who was signed in, for any user model."""

    class Meta:
        model = User
        fields = tuple(_sources())
        read_only_fields = fields
        extra_kwargs = {key: {"source": source} for key, source in _sources().items() if key != source}
