from __future__ import annotations

from accounts.views import SignInView
from companies.views import TicketsView
from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/sign-in/", SignInView.as_view()),
    path("api/companies/<int:company>/tickets/", TicketsView.as_view()),
]
