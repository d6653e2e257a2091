from __future__ import annotations

from django.urls import path

from tests.contract.shop import views

urlpatterns = [path("api/defect", views.defect)]
