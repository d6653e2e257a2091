"""The flags that clients may read. Include these URLs under a path such as ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from dovetail_core.conf import conf
from dovetail_flags.api.views import FeatureViewSet

app_name = "dovetail_flags"

_slash = "/" if conf.TRAILING_SLASH else ""

urlpatterns = [
    path(f"features{_slash}", FeatureViewSet.as_view({"get": "list"}), name="feature-list"),
    path(f"features/<str:key>{_slash}", FeatureViewSet.as_view({"get": "retrieve"}), name="feature-detail"),
]
