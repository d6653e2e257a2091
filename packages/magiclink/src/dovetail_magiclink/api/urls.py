"""Include these URLs at ``/api/auth/``. They end in a slash regardless of ``DOVETAIL_TRAILING_SLASH``."""

from __future__ import annotations

from django.urls import path

from dovetail_magiclink.api import views

app_name = "dovetail_magiclink"

urlpatterns = [
    path("magic/request/", views.RequestView.as_view(), name="magic-request"),
    path("magic/verify/", views.VerifyView.as_view(), name="magic-verify"),
]
