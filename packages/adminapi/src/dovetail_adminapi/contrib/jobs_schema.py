"""Descriptions of the views of jobs and metrics for drf-spectacular."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import serializers, status

from dovetail_adminapi.contrib.spectacular import described
from dovetail_adminapi.jobs import serializers as job_serializers
from dovetail_adminapi.metrics.views import PointSerializer, ValueSerializer
from dovetail_core.rest.schema import prefix_components

prefix_components(job_serializers, "Admin")

_SERIES = [
    OpenApiParameter("from", OpenApiTypes.DATE, description="The first day in UTC. Default: 30 days in all."),
    OpenApiParameter("to", OpenApiTypes.DATE, description="The last day in UTC. Default: today."),
    OpenApiParameter("days", OpenApiTypes.INT, description="The length of the period that ends with each day."),
    OpenApiParameter("organization", OpenApiTypes.STR, description="The key of one organization."),
]


class AdminListMetaSerializer(serializers.Serializer[Any]):
    next = serializers.CharField(allow_null=True, help_text="Always null: the list has one page.")
    prev = serializers.CharField(allow_null=True, help_text="Always null.")
    total = serializers.IntegerField()


class AdminSeriesMetaSerializer(AdminListMetaSerializer):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field, not the label of this one


@extend_schema_serializer(many=False)
class AdminDefinitionListSerializer(serializers.Serializer[Any]):
    data = job_serializers.DefinitionSerializer(many=True)  # type: ignore[assignment]  # replaces an attribute
    meta = AdminListMetaSerializer()


@extend_schema_serializer(many=False)
class AdminMetricListSerializer(serializers.Serializer[Any]):
    data = ValueSerializer(many=True)  # type: ignore[assignment]  # as above
    meta = AdminListMetaSerializer()


@extend_schema_serializer(many=False)
class AdminMetricSeriesSerializer(serializers.Serializer[Any]):
    data = PointSerializer(many=True)  # type: ignore[assignment]  # as above
    meta = AdminSeriesMetaSerializer()


class JobViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # __init_subclass__ has no types
    target_class = "dovetail_adminapi.jobs.views.JobViewSet"

    def view_replacement(self) -> Any:
        accepted = extend_schema(responses={status.HTTP_202_ACCEPTED: job_serializers.JobSerializer})
        return described(
            self.target,
            create=accepted,
            cancel=accepted,
            retry=accepted,
            definitions=extend_schema(responses=AdminDefinitionListSerializer),
        )


class MetricViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_adminapi.metrics.views.MetricViewSet"

    def view_replacement(self) -> Any:
        return described(
            self.target,
            list=extend_schema(responses=AdminMetricListSerializer),
            retrieve=extend_schema(parameters=_SERIES, responses=AdminMetricSeriesSerializer),
        )


class PrometheusViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_adminapi.metrics.prometheus.PrometheusView"

    def view_replacement(self) -> Any:
        return described(
            self.target, get=extend_schema(responses={(status.HTTP_200_OK, "text/plain"): OpenApiTypes.STR})
        )
