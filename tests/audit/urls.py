from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/v1/", include("dovetail_audit.api.admin_urls")),
    path("admin/", admin.site.urls),
    path("", include("tests.audit.views")),
    path("api/v1/", include("dovetail_audit.api.urls")),
]
