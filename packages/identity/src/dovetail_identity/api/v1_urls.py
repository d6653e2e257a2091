"""The account, to be included under ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from dovetail_core.conf import conf
from dovetail_identity.api import account_views

app_name = "dovetail_identity_v1"

_slash = "/" if conf.TRAILING_SLASH else ""

urlpatterns = [
    path(f"me{_slash}", account_views.MeView.as_view(), name="me"),
    path(f"me/sessions{_slash}", account_views.SessionListView.as_view(), name="sessions"),
    path(f"me/sessions/<uuid:session_id>{_slash}", account_views.SessionView.as_view(), name="session"),
]
