"""The metrics as text for Prometheus, off without ``ADMINAPI_METRICS_SCRAPE_TOKEN``.

Add ``dovetail_adminapi.metrics.prometheus.ScrapeTokenAuthentication`` as the first of
``ADMINAPI_AUTHENTICATION_CLASSES``; other classes refuse Bearer tokens that they do not know. The token reads metrics
and nothing else. People with the permission can read the text too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.http import HttpResponse
from django.utils.crypto import constant_time_compare
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from dovetail_adminapi.api.views import AdminView
from dovetail_adminapi.conf import conf
from dovetail_adminapi.metrics import answers

_PERMISSION: Final = "dovetail_adminapi.view_metrics"
#: https://prometheus.io/docs/instrumenting/exposition_formats/
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Scraper:
    """The principal of the scrape token. It may read metrics."""

    pk = "metrics-scraper"
    is_authenticated = is_active = True
    is_anonymous = is_staff = is_superuser = False

    def __str__(self) -> str:
        return self.pk

    def has_perm(self, permission: str, obj: object = None) -> bool:
        return permission == _PERMISSION

    def has_perms(self, permissions: list[str], obj: object = None) -> bool:
        return all(map(self.has_perm, permissions))


class ScrapeTokenAuthentication(BaseAuthentication):
    """Accepts ``Authorization: Bearer`` with ``ADMINAPI_METRICS_SCRAPE_TOKEN``, and leaves other tokens to others."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        scheme, _, token = get_authorization_header(request).partition(b" ")
        expected = conf.METRICS_SCRAPE_TOKEN
        if scheme.lower() != b"bearer" or not expected or not constant_time_compare(token, expected.encode()):
            return None
        return Scraper(), None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="metrics"'


class PrometheusView(AdminView):
    """The metrics in the text format of Prometheus. Those without a value are left out."""

    admin: ClassVar[Mapping[str, Any]] = {"permissions": {"get": _PERMISSION}}

    def get(self, request: Request) -> HttpResponse:
        if not conf.METRICS_SCRAPE_TOKEN:
            raise NotFound
        return HttpResponse("".join(f"{line}\n" for line in _lines()), content_type=CONTENT_TYPE)


def _lines() -> list[str]:
    lines: list[str] = []
    described: set[str] = set()
    for item in answers.values():
        if item.value is None:
            continue
        name = f"dovetail_{item.metric.name.replace('.', '_')}"
        if name not in described:
            described.add(name)
            label = str(item.metric.label).replace("\\", r"\\").replace("\n", r"\n")
            lines += [f"# HELP {name} {label}", f"# TYPE {name} gauge"]
        period = "" if item.days is None else f'{{days="{item.days}"}}'
        lines.append(f"{name}{period} {item.value}")
    return lines
