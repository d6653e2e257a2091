"""The metrics: present values, series of days, and text for Prometheus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, ClassVar, Final

from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from dovetail_adminapi.api.views import AdminViewSet
from dovetail_adminapi.metrics import answers, days
from dovetail_adminapi.metrics.registry import Metric, registry
from dovetail_adminapi.models import KEY_LENGTH, MetricPoint

#: The most days of a series.
MOST_DAYS: Final = 366
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SERIES_PARAMETERS: Final = ("from", "to", "days", "organization")


class ValueSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(source="metric.name")
    label = serializers.CharField(source="metric.label")  # type: ignore[assignment]  # a field, not the label of this one
    days = serializers.IntegerField(
        allow_null=True, help_text="The length of the period that ends with today, in days in UTC. Null: no period."
    )
    value = serializers.IntegerField(allow_null=True, help_text="Null before the first rollup.")
    exact = serializers.BooleanField(help_text="False for an estimate, and for a sum in which days are missing.")
    as_of = serializers.DateTimeField()


class PointSerializer(serializers.Serializer[Any]):
    day = serializers.DateField()
    value = serializers.IntegerField(allow_null=True, help_text="Null for a day that is not stored.")
    exact = serializers.BooleanField()


class MetricViewSet(AdminViewSet):
    admin: ClassVar[Mapping[str, Any]] = {
        "permissions": {"list": "dovetail_adminapi.view_metrics", "retrieve": "dovetail_adminapi.view_metrics"},
    }
    queryset = MetricPoint.objects.none()
    serializer_class = ValueSerializer
    # The list has one page, so the document names no parameters of pages.
    pagination_class = None
    lookup_field = "name"

    def get_serializer_class(self) -> Any:
        return PointSerializer if self.action == "retrieve" else ValueSerializer

    def list(self, request: Request) -> Response:
        """List the present values of all metrics. The list has one page."""
        values = answers.values()
        data = ValueSerializer(values, many=True, context=self.get_serializer_context()).data
        return Response({"data": data, "meta": {"next": None, "prev": None, "total": len(values)}})

    def retrieve(self, request: Request, name: str) -> Response:
        """List the values of a metric by day, `from` a day `to` a day, at most 366. Default: the last 30 days."""
        metric = registry.get(name)
        if metric is None:
            raise NotFound
        first, last = self._period(request)
        points = answers.series(
            metric, first, last, period=self._days(request, metric), organization=self._organization(request, metric)
        )
        data = PointSerializer(points, many=True).data
        meta = {"next": None, "prev": None, "total": len(points), "name": metric.name, "label": str(metric.label)}
        return Response({"data": data, "meta": meta})

    def _period(self, request: Request) -> tuple[date, date]:
        for parameter, values in request.query_params.lists():
            if parameter not in _SERIES_PARAMETERS:
                text = _("Unknown parameter. The parameters are: %s.")
                raise _invalid(parameter, text % ", ".join(_SERIES_PARAMETERS))
            if len(values) > 1:
                raise _invalid(parameter, _("This parameter must not be repeated."))
        today = days.today()
        last = _date(request, "to") or today
        first = _date(request, "from") or last - timedelta(days=29)
        if last > today:
            raise _invalid("to", _("The day must not be in the future."))
        if first > last:
            raise _invalid("from", _("The first day must not be after the last one."))
        if (last - first).days >= MOST_DAYS:
            raise _invalid("from", _("A series has at most %d days.") % MOST_DAYS)
        return first, last

    def _days(self, request: Request, metric: Metric) -> int | None:
        text = request.query_params.get("days")
        if text is None:
            return None
        allowed = [str(number) for number in metric.days] if metric.nightly is not None else []
        if text not in allowed:
            raise _invalid("days", _("The periods of this metric are: %s.") % (", ".join(allowed) or "–"))
        return int(text)

    def _organization(self, request: Request, metric: Metric) -> str:
        text = request.query_params.get("organization", "")
        if text and metric.organization is None:
            raise _invalid("organization", _("This metric has no values of organizations."))
        if "\0" in text or len(text) > KEY_LENGTH:
            raise _invalid("organization", _("This is not the key of an organization."))
        return text


def _date(request: Request, name: str) -> date | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        # Not also "20260131" and "2026-W05-6", which date.fromisoformat() accepts.
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    # Earlier days would overflow by the length of a series.
    if day is None or day.year < 1000:
        raise _invalid(name, _("The day must have the form 2026-01-31."))
    return day


def _invalid(parameter: str, message: str) -> ValidationError:
    return ValidationError({parameter: [message]}, "invalid_query")
