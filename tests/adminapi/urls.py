from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/v1/", include("dovetail_adminapi.api.urls")),
    path("admin/", admin.site.urls),
]
