from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include("dovetail_flags.api.urls")),
    path("admin-api/v1/", include("dovetail_flags.api.admin_urls")),
    path("", include("dovetail_flags.api.ofrep_urls")),
]
