"""The pages of problem types. Include them at the root: ``path("", include("dovetail_contract.urls"))``."""

from __future__ import annotations

from django.urls import path

from dovetail_contract.problems import views

app_name = "dovetail_contract"

urlpatterns = [
    path("problems", views.catalogue, name="problems"),
    path("problems/<str:code>", views.documentation, name="problem"),
]
