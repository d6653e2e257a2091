from __future__ import annotations

from django.urls import path

from tests.apikeys.firms import views

urlpatterns = [
    path("plain/", views.Plain.as_view()),
    path("open/", views.Open.as_view()),
    path("machines/", views.Machines.as_view()),
    path("people/", views.People.as_view()),
    path("orders/", views.Orders.as_view()),
    path("failing/", views.Failing.as_view()),
    path("refusing/", views.Refusing.as_view()),
]
