"""Sign-in, to be included at ``/api/auth/``. These paths end in a slash, whatever ``DOVETAIL_TRAILING_SLASH`` says."""

from __future__ import annotations

from django.urls import path

from dovetail_identity.api import account_views, views

app_name = "dovetail_identity"

urlpatterns = [
    path("jwt/token/", views.TokenObtainView.as_view(), name="token-obtain"),
    path("jwt/refresh/", views.TokenRefreshView.as_view(), name="token-refresh"),
    path("jwt/verify/", views.TokenVerifyView.as_view(), name="token-verify"),
    path("jwt/logout/", views.SignOutView.as_view(), name="token-logout"),
    path("register/", account_views.RegisterView.as_view(), name="register"),
    path("email/verify/", account_views.VerifyEmailView.as_view(), name="email-verify"),
    path("password/change/", account_views.ChangePasswordView.as_view(), name="password-change"),
    path("password/reset/", account_views.RequestResetView.as_view(), name="password-reset"),
    path("password/reset/confirm/", account_views.ConfirmResetView.as_view(), name="password-reset-confirm"),
]
