from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView

from console.views import ConsoleView
from example_project.docs import RedocView

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/auth/", include("dovetail_identity.api.urls")),
    path("api/v1/", include("dovetail_identity.api.v1_urls")),
    path("api/v1/", include("dovetail_tenancy.api.urls")),
    path("api/v1/", include("dovetail_notify.api.urls")),
    path("api/v1/", include("billing.api.urls")),
    path("django-admin/", admin.site.urls),
]

if settings.CONSOLE_ENABLED:
    urlpatterns += [path("console/", ConsoleView.as_view(), name="console")]

if settings.API_DOCS_ENABLED:
    urlpatterns += [
        path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
        path("api/docs/", RedocView.as_view(url_name="schema"), name="docs"),
    ]
