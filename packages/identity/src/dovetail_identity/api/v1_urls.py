"""The account, to be included under ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from dovetail_core.conf import conf
from dovetail_identity.api import views

app_name = "dovetail_identity_v1"

_slash = "/" if conf.TRAILING_SLASH else ""

urlpatterns = [
    path(f"me{_slash}", views.MeView.as_view(), name="me"),
]
