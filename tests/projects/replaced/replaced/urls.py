from __future__ import annotations

from django.urls import path
from firms.views import FirmsView
from people.views import MeView

urlpatterns = [
    path("api/me/", MeView.as_view(), name="me"),
    path("api/firms/", FirmsView.as_view(), name="firms"),
]
