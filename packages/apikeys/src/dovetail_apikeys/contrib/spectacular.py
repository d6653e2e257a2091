"""drf-spectacular extensions: the security scheme of API keys, and the scopes that each operation requires."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiViewExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request

from dovetail_apikeys.api.permissions import HasScope
from dovetail_apikeys.conf import conf
from dovetail_apikeys.restrictions.scopes import declared_scopes


class APIKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # an untyped __init_subclass__
    target_class = "dovetail_apikeys.api.authentication.APIKeyAuthentication"
    name = "apiKeyAuth"
    match_subclasses = True

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        header = f", or in the header `{conf.HEADER}`" if conf.HEADER else ""
        rows = "".join(f"\n- `{name}`: {text}" for name, text in declared_scopes().items() if text)
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": f"{conf.BRAND}_{conf.ENVIRONMENT}_…",
            "description": f"An organization's API key{header}. Its scopes limit the operations:\n{rows}",
        }

    def get_security_requirement(self, auto_schema: AutoSchema) -> dict[str, list[str]]:
        view = auto_schema.view
        permissions = [permission for permission in view.get_permissions() if isinstance(permission, HasScope)]
        request = getattr(view, "request", None)
        required = {permission.required(request, view) for permission in permissions} if request else set()
        return {self.name: sorted(filter(None, required))}


class APIKeyViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_apikeys.api.views.APIKeyViewSet"

    def view_replacement(self) -> Any:
        from dovetail_apikeys.api.serializers import NewAPIKeySerializer

        class Described(self.target):  # type: ignore[misc, name-defined]  # a class that is known only at run time
            @extend_schema(responses={status.HTTP_201_CREATED: NewAPIKeySerializer})
            def rotate(self, request: Request, **kwargs: Any) -> Any: ...

            @extend_schema(request=None, responses={status.HTTP_204_NO_CONTENT: None})
            def revoke(self, request: Request, **kwargs: Any) -> Any: ...

        return Described
