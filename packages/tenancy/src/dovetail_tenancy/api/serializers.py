"""Serializers. The organization and the user may be any model; the fields that a model lacks are left out."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from dovetail_core.rest.fields import FIELD_MAPPING, TextField
from dovetail_tenancy.conf import conf, membership_lookups, membership_path
from dovetail_tenancy.exceptions import UnknownRole
from dovetail_tenancy.isolation.scope import get_organization_model
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.organizations.project_models import concrete_field, find_row, get_membership_model, user_model

Organization = get_organization_model()
Membership = get_membership_model()
User = user_model()

_ROLE = membership_path("role")
_ID: dict[str, Any] = {"id": {"source": "pk", "read_only": True}}


def _existing_fields(model: type[Model], *names: str) -> list[str]:
    return [name for name in names if concrete_field(model, name)]


class ModelSerializer(serializers.ModelSerializer[Any]):
    serializer_field_mapping = FIELD_MAPPING

    # Called for writable fields only, so not for the caller's role in an organization.
    def validate_role(self, role: str) -> str:
        if role not in conf.ROLES:
            raise serializers.ValidationError(str(UnknownRole(role, conf.ROLES)), code=UnknownRole.code)
        return role


class OrganizationSerializer(ModelSerializer):
    """An organization. ``role`` is the caller's role; null for a machine."""

    role = serializers.CharField(source="membership_role", read_only=True, allow_null=True)

    class Meta:
        model = Organization
        fields = [
            "id",
            *_existing_fields(Organization, "name", "slug", "owner"),
            "role",
            *_existing_fields(Organization, "created_at", "updated_at"),
        ]
        read_only_fields = ["owner", "created_at", "updated_at"]
        extra_kwargs = {**_ID, "slug": {"required": False}}


class MemberUserSerializer(serializers.ModelSerializer[Any]):
    class Meta:
        model = User
        fields = ["id", *_existing_fields(User, "email", "first_name", "last_name")]
        read_only_fields = fields
        extra_kwargs = _ID


class MemberSerializer(ModelSerializer):
    """A membership as a member of the organization sees it."""

    user = MemberUserSerializer(read_only=True)

    class Meta:
        model = Membership
        fields = ["id", "user", "role", *_existing_fields(Membership, "created_at")]
        read_only_fields = ["created_at"]
        # REST framework refuses a source that equals the name.
        extra_kwargs = {**_ID, **({"role": {"source": _ROLE}} if _ROLE != "role" else {})}


class MemberKeyField(serializers.CharField):
    """The ``id`` of a membership of the organization in the context. It may be a number, as the API returned it."""

    default_error_messages = {"does_not_exist": _("No member of this organization has this id.")}

    def to_internal_value(self, data: Any) -> Any:
        key = super().to_internal_value(data)
        members = Membership._default_manager.filter(**membership_lookups(organization=self.context["organization"].pk))
        if (membership := find_row(members.select_related(membership_path("user")), key)) is None:
            self.fail("does_not_exist")
        return membership


class TransferSerializer(OrganizationSerializer):
    member = MemberKeyField(write_only=True, help_text=_("The `id` of the member who becomes the owner."))

    class Meta(OrganizationSerializer.Meta):
        fields = [*OrganizationSerializer.Meta.fields, "member"]
        read_only_fields = OrganizationSerializer.Meta.fields
        extra_kwargs = _ID


class EmptySerializer(serializers.Serializer[Any]):
    """An empty body, in the request and in the response."""


class InvitationSerializer(ModelSerializer):
    status = serializers.ChoiceField(["pending", "accepted", "declined", "revoked", "expired"], read_only=True)

    class Meta:
        model = Invitation
        read_only_fields = ["invited_by", "created_at", "expires_at", "accepted_at", "declined_at", "revoked_at"]
        fields = ["id", "email", "role", "status", *read_only_fields]


class InvitedToSerializer(serializers.ModelSerializer[Any]):
    class Meta:
        model = Organization
        fields = ["id", *_existing_fields(Organization, "name", "slug")]
        read_only_fields = fields
        extra_kwargs = _ID


class TokenSerializer(serializers.Serializer[Any]):
    token = TextField(write_only=True, max_length=200)


class AcceptanceSerializer(MemberSerializer):
    """The membership as the new member sees it, with tokens if the account is new."""

    token = TextField(write_only=True, max_length=200)
    organization = InvitedToSerializer(read_only=True)
    access = serializers.CharField(read_only=True, required=False)
    refresh = serializers.CharField(read_only=True, required=False)

    class Meta(MemberSerializer.Meta):
        fields = [*MemberSerializer.Meta.fields, "organization", "token", "access", "refresh"]
        read_only_fields = [*MemberSerializer.Meta.fields]
