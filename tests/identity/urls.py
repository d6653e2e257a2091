from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import PasswordChangeView
from django.urls import path

from tests.identity import urls_without_admin

urlpatterns = [
    path("admin/", admin.site.urls),
    path("account/password/", PasswordChangeView.as_view(success_url="/"), name="own-name"),
    *urls_without_admin.urlpatterns,
]
