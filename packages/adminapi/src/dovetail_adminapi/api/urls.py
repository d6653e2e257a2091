"""The admin API. Include these URLs under a path such as ``/admin/v1/``."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
