"""drf-spectacular extensions for what it cannot infer: responses without a body, and tokens for new accounts only."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiViewExtension
from drf_spectacular.utils import extend_schema
from rest_framework import status

from dovetail_core.rest.schema import prefix_components
from dovetail_tenancy.api import serializers

prefix_components(serializers, "Tenancy")

_NO_CONTENT = {status.HTTP_204_NO_CONTENT: None}


class _MethodSchemas(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # registers itself by an untyped hook
    methods: dict[str, Any]

    def view_replacement(self) -> Any:
        return type("Described", (self.target,), self.methods)


def _described(**schema: Any) -> Any:
    @extend_schema(**schema)
    def method(self: Any, request: object, **kwargs: Any) -> Any: ...

    return method


class OrganizationViews(_MethodSchemas):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_tenancy.api.views.OrganizationViewSet"
    methods = {"leave": _described(request=None, responses=_NO_CONTENT)}


class InvitationViews(_MethodSchemas):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_tenancy.api.views.InvitationViewSet"
    methods = {"resend": _described(request=None), "revoke": _described(request=None, responses=_NO_CONTENT)}


class DeclineInvitation(_MethodSchemas):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_tenancy.api.views.DeclineInvitationView"
    methods = {"post": _described(responses=_NO_CONTENT)}


class Acceptance(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_tenancy.api.serializers.AcceptanceSerializer"

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        schema: dict[str, Any] = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        # Fields that are read-only are required in responses. A person with an account gets no tokens.
        required = [name for name in schema.get("required", []) if name not in {"access", "refresh"}]
        return {**schema, "required": required}
