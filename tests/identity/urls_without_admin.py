from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("api/auth/", include("dovetail_identity.api.urls")),
    path("api/v1/", include("dovetail_identity.api.v1_urls")),
]
