"""Extensions of drf-spectacular for our authentication, which extends simplejwt's, and for our answers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import extend_schema
from rest_framework import status


class JWTScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]  # registers itself by a hook without types
    target_class = "dovetail_identity.api.authentication.JWTAuthentication"


_EMPTY = {"type": "object", "description": "An empty object.", "additionalProperties": False}


class AccountEndpointViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    """Answers whose status does not follow from the serializer."""

    target_class = "dovetail_identity.api.views.AccountEndpoint"
    match_subclasses = True

    def view_replacement(self) -> Any:
        if self.target.success == status.HTTP_200_OK:
            return self.target

        body = None if self.target.success == status.HTTP_204_NO_CONTENT else _EMPTY

        class Described(self.target):  # type: ignore[misc, name-defined]  # a class that is known at run time
            @extend_schema(responses={self.target.success: body})
            def post(self, request: Any, **kwargs: Any) -> Any: ...

        return Described


class SessionListViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    """Without an ``operation_id``, both deletions would get the same one."""

    target_class = "dovetail_identity.api.session_views.SessionListView"

    def view_replacement(self) -> Any:
        class Described(self.target):  # type: ignore[misc, name-defined]  # as above
            @extend_schema(operation_id="me_sessions_destroy_others")
            def delete(self, request: Any, **kwargs: Any) -> Any: ...

        return Described
