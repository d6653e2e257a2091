from __future__ import annotations

from django.contrib import admin
from django.urls import path

from tests.identity import urls_without_admin

urlpatterns = [path("admin/", admin.site.urls), *urls_without_admin.urlpatterns]
