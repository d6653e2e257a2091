from __future__ import annotations

from django.urls import path

from archive.views import ArchivedOrderList

urlpatterns = [path("", ArchivedOrderList.as_view(), name="archive")]
