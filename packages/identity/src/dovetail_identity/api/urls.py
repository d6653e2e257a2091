"""Sign-in, to be included at ``/api/auth/``. These paths end in a slash even without ``DOVETAIL_TRAILING_SLASH``."""

from __future__ import annotations

from django.urls import path

from dovetail_identity.api import views

app_name = "dovetail_identity"

urlpatterns = [
    path("jwt/token/", views.TokenObtainView.as_view(), name="token-obtain"),
    path("jwt/refresh/", views.TokenRefreshView.as_view(), name="token-refresh"),
    path("jwt/verify/", views.TokenVerifyView.as_view(), name="token-verify"),
    path("jwt/logout/", views.SignOutView.as_view(), name="token-logout"),
    path("register/", views.RegisterView.as_view(), name="register"),
    path("email/verify/", views.VerifyEmailView.as_view(), name="email-verify"),
    path("password/change/", views.ChangePasswordView.as_view(), name="password-change"),
    path("password/reset/", views.RequestResetView.as_view(), name="password-reset"),
    path("password/reset/confirm/", views.ConfirmResetView.as_view(), name="password-reset-confirm"),
]
