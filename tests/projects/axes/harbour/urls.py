from __future__ import annotations

from berths.views import BerthList
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/allauth/", include("allauth.headless.urls")),
    path("api/berths/", BerthList.as_view()),
]
