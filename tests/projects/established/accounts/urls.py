from __future__ import annotations

from django.urls import path

from accounts.views import SessionView

urlpatterns = [path("", SessionView.as_view(), name="session")]
