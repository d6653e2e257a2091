"""The account, to be included under ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from dovetail_core.conf import conf
from dovetail_identity.api import session_views, views

app_name = "dovetail_identity_v1"

_slash = "/" if conf.TRAILING_SLASH else ""

urlpatterns = [
    path(f"me{_slash}", views.MeView.as_view(), name="me"),
    path(f"me/sessions{_slash}", session_views.SessionListView.as_view(), name="sessions"),
    path(f"me/sessions/<uuid:session_id>{_slash}", session_views.SessionView.as_view(), name="session"),
]
