from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.utils import translation
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from console.views import ConsoleView
from dovetail_contract.problems import handler400, handler403, handler404, handler500
from dovetail_contract.schema.views import RedocView

__all__ = ["handler400", "handler403", "handler404", "handler500"]


class SchemaView(SpectacularAPIView):
    """The OpenAPI schema in English: most of its descriptions are docstrings, which are not translated."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with translation.override("en"):
            response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response.headers["Content-Language"] = "en"
        return response


urlpatterns: list[URLPattern | URLResolver] = [
    path("api/auth/", include("dovetail_identity.api.urls")),
    path("api/auth/", include("dovetail_magiclink.api.urls")),
    path("api/v1/", include("dovetail_identity.api.v1_urls")),
    path("api/v1/", include("dovetail_tenancy.api.urls")),
    path("api/v1/", include("dovetail_apikeys.api.urls")),
    path("api/v1/", include("dovetail_notify.api.urls")),
    path("api/v1/", include("billing.api.urls")),
    path("", include("dovetail_contract.urls")),
    path("django-admin/", admin.site.urls),
]

if settings.CONSOLE_ENABLED:
    urlpatterns += [path("console/", ConsoleView.as_view(), name="console")]

if settings.API_DOCS_ENABLED:
    urlpatterns += [
        path("api/schema/", SchemaView.as_view(), name="schema"),
        path("api/docs/", RedocView.as_view(url_name="schema"), name="docs"),
    ]
