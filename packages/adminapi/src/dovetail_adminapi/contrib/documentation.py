"""The section ``schema``: the OpenAPI document of the admin API, and a page that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.templatetags.static import static
from django.urls import path
from django.utils import translation
from django.utils.functional import lazy
from django.utils.html import format_html
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiJsonRenderer2
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from dovetail_adminapi.api.views import AdminView
from dovetail_adminapi.contrib.spectacular import AdminSchemaGenerator
from dovetail_core.conf import conf

_PERMISSION = "dovetail_adminapi.view_schema"
_slash = "/" if conf.TRAILING_SLASH else ""


class SchemaView(AdminView):
    """The OpenAPI document of the admin API, in English: its descriptions are docstrings."""

    admin: ClassVar[Mapping[str, Any]] = {"permissions": {"get": _PERMISSION}}
    renderer_classes = (OpenApiJsonRenderer2, OpenApiJsonRenderer)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        generator: Any = AdminSchemaGenerator(urlconf=getattr(request._request, "urlconf", None))  # type: ignore[no-untyped-call]  # no types
        with translation.override("en"):
            return Response(generator.get_schema(request=request, public=True), headers={"Content-Language": "en"})


def _script() -> str:
    dist = spectacular_settings.REDOC_DIST
    if dist == "SIDECAR":
        return static("drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js")
    return f"{dist}/bundles/redoc.standalone.js"


def policy(script: str) -> str:
    """Return the content security policy of the page: scripts of one source, and no inline ones.

    ReDoc injects its styles, and searches in a worker that it creates from a blob.
    """
    parts = urlsplit(script)
    source = f"{parts.scheme}://{parts.netloc}" if parts.netloc else "'self'"
    return (
        f"default-src 'none'; script-src {source}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
  <head>
    <title>Admin API</title>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <style>body {{ margin: 0; padding: 0; }}</style>
  </head>
  <body>
    <redoc spec-url="{}"></redoc>
    <script src="{}"></script>
  </body>
</html>
"""


class DocumentationView(AdminView):
    """A page of ReDoc that shows the document."""

    admin: ClassVar[Mapping[str, Any]] = {
        "permissions": {"get": _PERMISSION},
        # Lazy: commands import the views before static files are collected.
        "content_security_policy": lazy(lambda: policy(_script()), str)(),
    }

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(format_html(_PAGE, _schema_url(request._request), _script()))


def _schema_url(request: HttpRequest) -> str:
    return f"{request.path.rstrip('/').rpartition('/')[0]}/schema{_slash}"


urlpatterns = [
    path(f"schema{_slash}", SchemaView.as_view(), name="schema"),
    path(f"docs{_slash}", DocumentationView.as_view(), name="docs"),
]
