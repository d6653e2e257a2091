from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/session/", include("accounts.urls")),
    path("api/orders/", include("orders.urls")),
    path("api/archive/", include("archive.urls")),
]
