"""Schemas that drf-spectacular cannot derive from the views and serializers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_serializer,
)
from rest_framework import serializers, status
from rest_framework.request import Request

from dovetail_core.rest.schema import prefix_components
from dovetail_flags.api import serializers as own_serializers
from dovetail_flags.api.serializers import (
    ComparisonSerializer,
    EvaluationSerializer,
    FlagSerializer,
    RevisionSerializer,
)

prefix_components(own_serializers, "Feature")

_IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", OpenApiTypes.STR, OpenApiParameter.HEADER, description="The ETag of an earlier response."
)
_IF_MATCH = OpenApiParameter(
    "If-Match", OpenApiTypes.STR, OpenApiParameter.HEADER, required=True, description="The ETag of the flag."
)
_UNCHANGED = OpenApiResponse(description="The values are those of the ETag.")


class FeatureListMetaSerializer(serializers.Serializer[Any]):
    next = serializers.CharField(allow_null=True, help_text="Always null: the list has one page.")
    prev = serializers.CharField(allow_null=True, help_text="Always null.")
    total = serializers.IntegerField()


@extend_schema_serializer(many=False)
class FeatureListSerializer(serializers.Serializer[Any]):
    data = EvaluationSerializer(many=True)  # type: ignore[assignment]  # replaces an attribute of serializers
    meta = FeatureListMetaSerializer()


class FeatureComparisonListMetaSerializer(serializers.Serializer[Any]):
    changed = serializers.IntegerField(help_text="The number of contexts whose value differs.")


@extend_schema_serializer(many=False)
class FeatureComparisonListSerializer(serializers.Serializer[Any]):
    data = ComparisonSerializer(many=True)  # type: ignore[assignment]  # as above
    meta = FeatureComparisonListMetaSerializer()


_CHANGED = OpenApiResponse(description="Another change came first.")
_IF_MATCH_MISSING = OpenApiResponse(description="The header `If-Match` is missing, or has no ETag of a flag.")
_COMPARISON = PolymorphicProxySerializer(
    "FeatureComparisonResult",
    [ComparisonSerializer, FeatureComparisonListSerializer],
    resource_type_field_name=None,
)


class FeatureViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # an untyped __init_subclass__
    target_class = "dovetail_flags.api.views.FeatureViewSet"

    def view_replacement(self) -> Any:
        class Described(self.target):  # type: ignore[misc, name-defined]  # a class that is known only at run time
            @extend_schema(parameters=[_IF_NONE_MATCH], responses={200: FeatureListSerializer, 304: _UNCHANGED})
            def list(self, request: Request) -> Any:
                """List all flags that clients may read, with the caller's values. The list has one page."""

            @extend_schema(parameters=[_IF_NONE_MATCH], responses={200: EvaluationSerializer, 304: _UNCHANGED})
            def retrieve(self, request: Request, key: str) -> Any: ...

        return Described


class FlagViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_flags.api.admin_views.FlagViewSet"

    def view_replacement(self) -> Any:
        class Described(self.target):  # type: ignore[misc, name-defined]  # as above
            @extend_schema(responses={status.HTTP_201_CREATED: FlagSerializer})
            def create(self, request: Request) -> Any: ...

            @extend_schema(
                parameters=[_IF_MATCH], responses={200: FlagSerializer, 412: _CHANGED, 428: _IF_MATCH_MISSING}
            )
            def partial_update(self, request: Request, key: str) -> Any: ...

            @extend_schema(responses=FlagSerializer)
            def enable(self, request: Request, key: str) -> Any: ...

            @extend_schema(responses=FlagSerializer)
            def disable(self, request: Request, key: str) -> Any: ...

            @extend_schema(responses=FlagSerializer)
            def archive(self, request: Request, key: str) -> Any: ...

            @extend_schema(responses=FlagSerializer)
            def revert(self, request: Request, key: str) -> Any: ...

            @extend_schema(filters=False, responses=RevisionSerializer(many=True))
            def revisions(self, request: Request, key: str) -> Any: ...

            @extend_schema(responses=_COMPARISON)
            def evaluate(self, request: Request, key: str) -> Any: ...

        return Described
