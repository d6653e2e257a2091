"""Sign-in, to be included at ``/api/auth/``. These paths end in a slash whatever ``DOVETAIL_TRAILING_SLASH`` says."""

from __future__ import annotations

from django.urls import path

from dovetail_identity.api import views

app_name = "dovetail_identity"

urlpatterns = [
    path("jwt/token/", views.TokenObtainView.as_view(), name="token-obtain"),
    path("jwt/refresh/", views.TokenRefreshView.as_view(), name="token-refresh"),
    path("jwt/verify/", views.TokenVerifyView.as_view(), name="token-verify"),
    path("jwt/logout/", views.SignOutView.as_view(), name="token-logout"),
]
