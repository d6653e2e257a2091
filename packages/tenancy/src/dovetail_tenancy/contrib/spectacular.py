"""drf-spectacular extensions that describe responses without a body, which no serializer describes."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import extend_schema
from rest_framework import status

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
