"""URLs of the schema and its documentation, with drf-spectacular. Imported only with ``API_DOCS_ENABLED``."""

from __future__ import annotations

from typing import Any

from django.urls import path
from django.utils import translation
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from dovetail_contract.schema.views import RedocView


class SchemaView(SpectacularAPIView):
    """The OpenAPI schema in English: most of its descriptions are docstrings, which are not translated."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with translation.override("en"):
            response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response.headers["Content-Language"] = "en"
        return response


urlpatterns = [
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", RedocView.as_view(url_name="schema"), name="docs"),
]
