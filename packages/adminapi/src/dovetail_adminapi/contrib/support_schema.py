"""Descriptions of the views of support access for drf-spectacular."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiViewExtension
from drf_spectacular.utils import extend_schema
from rest_framework import status

from dovetail_adminapi.contrib.spectacular import described
from dovetail_adminapi.support.serializers import StartedAccessSerializer, SupportAccessSerializer


class SupportAccessViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # __init_subclass__ has no types
    target_class = "dovetail_adminapi.support.views.SupportAccessViewSet"

    def view_replacement(self) -> Any:
        nothing = extend_schema(request=None, responses={status.HTTP_204_NO_CONTENT: None})
        return described(
            self.target,
            create=extend_schema(responses={status.HTTP_201_CREATED: StartedAccessSerializer}),
            start=extend_schema(request=None, responses=StartedAccessSerializer),
            end=nothing,
        )


class CustomerAccessViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_adminapi.support.views.CustomerAccessViewSet"

    def view_replacement(self) -> Any:
        return described(self.target, approve=extend_schema(request=None, responses=SupportAccessSerializer))


class SupportAccessScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_adminapi.support.authentication.SupportAccessAuthentication"
    match_subclasses = True
    name = "supportAccess"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "The token of a support access, for administrators."}
