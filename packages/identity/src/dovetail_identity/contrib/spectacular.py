"""Extensions of drf-spectacular for ``JWTAuthentication`` and for responses without a serializer."""

from __future__ import annotations

from typing import Any

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request

from dovetail_core.rest.schema import prefix_components
from dovetail_identity.api import serializers

prefix_components(serializers, "Identity")


class JWTScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]  # its registration is untyped
    target_class = "dovetail_identity.api.authentication.JWTAuthentication"


_EMPTY = {"type": "object", "description": "An empty object.", "additionalProperties": False}


class AccountEndpointViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    """Documents responses other than 200 with a serializer."""

    target_class = "dovetail_identity.api.views.AccountEndpoint"
    match_subclasses = True

    def view_replacement(self) -> Any:
        if self.target.success == status.HTTP_200_OK:
            return self.target

        body = None if self.target.success == status.HTTP_204_NO_CONTENT else _EMPTY

        class Described(self.target):  # type: ignore[misc, name-defined]  # a class known only at run time
            @extend_schema(responses={self.target.success: body})
            def post(self, request: Request, **kwargs: Any) -> Any: ...

        return Described


class SessionListViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    """Sets an ``operation_id``, because the operations that end one and all sessions would get the same."""

    target_class = "dovetail_identity.api.account_views.SessionListView"

    def view_replacement(self) -> Any:
        class Described(self.target):  # type: ignore[misc, name-defined]  # as above
            @extend_schema(operation_id="me_sessions_destroy_others")
            def delete(self, request: Request, **kwargs: Any) -> Any: ...

        return Described
