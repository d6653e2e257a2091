"""The section ``jobs`` of the admin API."""

from __future__ import annotations

from django.urls import path

from dovetail_adminapi.jobs.views import JobViewSet
from dovetail_core.conf import conf

_slash = "/" if conf.TRAILING_SLASH else ""

urlpatterns = [
    path(f"jobs{_slash}", JobViewSet.as_view({"get": "list", "post": "create"}), name="job-list"),
    # Before the rows, because the word matches their pattern.
    path(f"jobs/definitions{_slash}", JobViewSet.as_view({"get": "definitions"}), name="job-definitions"),
    path(f"jobs/<str:pk>{_slash}", JobViewSet.as_view({"get": "retrieve"}), name="job-detail"),
    path(f"jobs/<str:pk>/cancel{_slash}", JobViewSet.as_view({"post": "cancel"}), name="job-cancel"),
    path(f"jobs/<str:pk>/retry{_slash}", JobViewSet.as_view({"post": "retry"}), name="job-retry"),
]
