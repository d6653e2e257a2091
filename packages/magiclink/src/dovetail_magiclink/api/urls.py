"""Sign-in, to be included at ``/api/auth/``. These paths end in a slash, whatever ``DOVETAIL_TRAILING_SLASH`` says."""

from __future__ import annotations

from django.urls import path

from dovetail_magiclink.api import views

app_name = "dovetail_magiclink"

urlpatterns = [
    path("magic/request/", views.RequestView.as_view(), name="magic-request"),
    path("magic/verify/", views.VerifyView.as_view(), name="magic-verify"),
]
