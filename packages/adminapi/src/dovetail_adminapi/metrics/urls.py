"""The section ``metrics`` of the admin API."""

from __future__ import annotations

from django.urls import path

from dovetail_adminapi.metrics.prometheus import PrometheusView
from dovetail_adminapi.metrics.views import MetricViewSet
from dovetail_core.conf import conf

_slash = "/" if conf.TRAILING_SLASH else ""

urlpatterns = [
    path(f"metrics{_slash}", MetricViewSet.as_view({"get": "list"}), name="metric-list"),
    # Before the metrics, because the word matches their pattern.
    path(f"metrics/prometheus{_slash}", PrometheusView.as_view(), name="metric-prometheus"),
    path(f"metrics/<str:name>{_slash}", MetricViewSet.as_view({"get": "retrieve"}), name="metric-detail"),
]
