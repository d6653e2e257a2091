"""Describe the responses to drf-spectacular: streams, empty ones, and the status of an accepted verification."""

from __future__ import annotations

from functools import wraps
from typing import Any

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status

from dovetail_audit.api import serializers
from dovetail_audit.exports.writer import FORMATS
from dovetail_core.rest.schema import prefix_components

prefix_components(serializers, "Audit")

_FORMAT = OpenApiParameter("format", str, enum=[*FORMATS], default="jsonl", description="The format of the lines.")
_PROOFS = OpenApiParameter("proofs", bool, default=False, description="Whether JSON lines hold proofs of inclusion.")
_PROOF = extend_schema(
    responses={
        status.HTTP_200_OK: serializers.ProofSerializer,
        status.HTTP_409_CONFLICT: OpenApiResponse(description="`not_sealed`: repeat the request after `Retry-After`."),
    }
)
_EXPORT = extend_schema(
    parameters=[_FORMAT, _PROOFS],
    responses={
        (status.HTTP_200_OK, "application/x-ndjson"): OpenApiTypes.BINARY,
        (status.HTTP_200_OK, "text/plain"): OpenApiTypes.BINARY,
    },
)


class EntryViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # __init_subclass__ has no types
    target_class = "dovetail_audit.api.views.EntryViewSet"

    def view_replacement(self) -> Any:
        return _described(self.target, export=_EXPORT, proof=_PROOF)


class AdminEntryViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_audit.api.admin_views.AdminEntryViewSet"

    def view_replacement(self) -> Any:
        return _described(self.target, export=_EXPORT, proof=_PROOF)


class VerificationViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_audit.api.admin_views.VerificationViewSet"

    def view_replacement(self) -> Any:
        return _described(self.target, create=extend_schema(request=None, responses={status.HTTP_202_ACCEPTED: None}))


class ErasureViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_audit.api.admin_views.ErasureViewSet"

    def view_replacement(self) -> Any:
        responses = {status.HTTP_200_OK: serializers.ErasureSerializer}
        return _described(self.target, create=extend_schema(responses=responses))


def _described(view: type, **actions: Any) -> type:
    """Return a subclass whose methods have the descriptions. ``extend_schema_view`` finds methods of routers only."""

    def described(name: str) -> Any:
        @wraps(getattr(view, name))
        def method(self: Any, *args: Any, **kwargs: Any) -> Any: ...

        return actions[name](method)

    return type(view.__name__, (view,), {name: described(name) for name in actions})
