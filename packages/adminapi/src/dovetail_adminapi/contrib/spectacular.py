"""The OpenAPI document of the admin API by drf-spectacular, and descriptions of the views of this package.

Guarded views have ``schema = None``, so that no other document of the project contains them. This generator describes
the views below the guard, so that extensions of drf-spectacular for them apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from typing import Any, Final

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status

from dovetail_adminapi.api.operations import ANY, Operation, walk

PROBLEM: Final = "AdminProblem"
#: What the guard answers, and REST framework before and after it.
_REFUSALS: Final[Mapping[str, str]] = {
    "400": "The request is invalid, or its token and its session belong to different people.",
    "401": "No valid credential, or the last sign-in is too long ago: `reauthentication_required` (RFC 9470).",
    "403": "No permission, a request of another site, or an API key.",
    "404": "The object does not exist, or this host or network does not serve the admin API.",
    "405": "The path has no such method.",
    "406": "No representation is acceptable.",
}
_OF_WRITES: Final[Mapping[str, str]] = {
    "409": "The present state does not allow the change.",
    "415": "The body is not `application/json`.",
}
_PROBLEM_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "A problem (RFC 9457).",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["type", "title", "status"],
}


class AdminEnumerator(EndpointEnumerator):
    def get_api_endpoints(self, patterns: Any = None, prefix: str = "") -> list[Any]:
        """Return the declared operations with the views below the guard, without the hooks of the public document."""
        endpoints = self._get_api_endpoints(patterns, prefix)  # type: ignore[no-untyped-call]  # no types
        return [(path, regex, method, callback.cls.admin_source) for path, regex, method, callback in endpoints]

    def should_include_endpoint(self, path: str, callback: Any) -> bool:
        view = getattr(callback, "cls", None)
        operations: Mapping[str, Operation] = getattr(view, "admin_operations", {})
        source = getattr(getattr(view, "admin_source", None), "cls", None)
        is_listed = bool(operations) and getattr(view, "admin", {}).get("listed", True)
        return is_listed and isinstance(getattr(source, "schema", None), AutoSchema)

    def get_allowed_methods(self, callback: Any) -> list[str]:
        operations: Mapping[str, Operation] = callback.cls.admin_operations
        # What nobody may call is no part of the API.
        return [method for method, operation in operations.items() if operation.permission is not None]


class AdminSchemaGenerator(SchemaGenerator):
    endpoint_inspector_cls = AdminEnumerator

    def parse(self, input_request: Any, public: bool) -> dict[str, Any]:
        paths: dict[str, Any] = super().parse(input_request, public)  # type: ignore[no-untyped-call]  # as above
        # Before the hooks of SPECTACULAR_SETTINGS, which may follow references.
        component: Any = ResolvedComponent
        self.registry.register_on_missing(component(PROBLEM, component.SCHEMA, dict(_PROBLEM_SCHEMA), PROBLEM))
        inspector: Any = self.inspector
        known = _operations(inspector.patterns)
        for path, methods in paths.items():
            for method, operation in methods.items():
                declared = known.get((_shape(path), method.upper()))
                if declared is not None:
                    _describe(operation, declared)
        return paths


def _operations(patterns: Any) -> dict[tuple[str, str], Operation]:
    return {(_shape(item.path), item.operation.method): item.operation for item in walk(patterns)}


def _shape(path: str) -> str:
    """Return the path with nameless parameters, because drf-spectacular renames some."""
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def _describe(operation: dict[str, Any], declared: Operation) -> None:
    permission = "any permission of the admin API" if declared.permission == ANY else f"`{declared.permission}`"
    notes = [operation.get("description", ""), f"Requires {permission}."]
    if declared.reauthenticate:
        notes.append("Requires a recent sign-in.")
    operation["description"] = "\n\n".join(note for note in notes if note)
    operation["x-permission"] = declared.permission
    operation["x-reauthenticate"] = declared.reauthenticate
    refusals = {**_REFUSALS, **({} if declared.method == "GET" else _OF_WRITES)}
    content = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{PROBLEM}"}}}
    for code, description in refusals.items():
        operation["responses"].setdefault(code, {"description": description, "content": content})
    operation["responses"] = dict(sorted(operation["responses"].items()))


class AdminOperationSerializer(serializers.Serializer[Any]):
    operation = serializers.CharField(help_text="Its name, such as `user.deactivate`.")
    section = serializers.CharField()
    method = serializers.CharField()
    path = serializers.CharField(help_text="The path with its parameters in braces.")
    allowed = serializers.BooleanField(help_text="Whether the caller has the permission.")
    reauthenticate = serializers.BooleanField(help_text="Whether it requires a recent sign-in.")


class AdminPrincipalSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field of this name, not the label of the serializer
    superuser = serializers.BooleanField()
    roles = serializers.ListField(child=serializers.CharField())


class AdminRootSerializer(serializers.Serializer[Any]):
    operations = AdminOperationSerializer(many=True)
    principal = AdminPrincipalSerializer()


class RootViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # __init_subclass__ has no types
    target_class = "dovetail_adminapi.api.root.RootView"

    def view_replacement(self) -> Any:
        return described(
            self.target, get=extend_schema(operation_id="admin_root_retrieve", responses=AdminRootSerializer)
        )


class ResourceViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_adminapi.resources.views.ResourceViewSet"
    match_subclasses = True

    def view_replacement(self) -> Any:
        done = extend_schema(
            responses={
                status.HTTP_200_OK: OpenApiResponse(OpenApiTypes.OBJECT, description="What the action returns."),
                status.HTTP_204_NO_CONTENT: None,
            }
        )
        actions = [action.name.replace("-", "_") for action in self.target.resource.actions]
        return described(self.target, **{name: done for name in actions if hasattr(self.target, name)})


def described(view: type, **actions: Any) -> type:
    """Return a subclass whose methods have the descriptions. ``extend_schema_view`` finds methods of routers only."""

    def method_of(name: str) -> Any:
        @wraps(getattr(view, name))
        def method(self: Any, *args: Any, **kwargs: Any) -> Any: ...

        return actions[name](method)

    return type(view.__name__, (view,), {name: method_of(name) for name in actions})
