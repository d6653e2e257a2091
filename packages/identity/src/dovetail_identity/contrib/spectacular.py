"""How drf-spectacular describes our authentication (as simplejwt's, which it extends) and our answers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import extend_schema
from rest_framework import status


class JWTScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]  # registers itself by a hook without types
    target_class = "dovetail_identity.api.authentication.JWTAuthentication"


_NOTHING = {"type": "object", "description": "Nothing is told.", "additionalProperties": False}


class AccountEndpointViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    """Answers without tokens, whose status the serializer cannot tell."""

    target_class = "dovetail_identity.api.views.AccountEndpoint"
    match_subclasses = True

    def view_replacement(self) -> Any:
        if self.target.success == status.HTTP_200_OK:
            return self.target

        told = None if self.target.success == status.HTTP_204_NO_CONTENT else _NOTHING

        class Described(self.target):  # type: ignore[misc, name-defined]  # a class that is known at run time
            @extend_schema(responses={self.target.success: told})
            def post(self, request: Any, **kwargs: Any) -> Any: ...

        return Described


class SessionListViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    """The two deletions would have one operation's name."""

    target_class = "dovetail_identity.api.session_views.SessionListView"

    def view_replacement(self) -> Any:
        class Described(self.target):  # type: ignore[misc, name-defined]  # as above
            @extend_schema(operation_id="me_sessions_destroy_others")
            def delete(self, request: Any, **kwargs: Any) -> Any: ...

        return Described
