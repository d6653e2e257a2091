from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from rest_framework.routers import SimpleRouter

from dovetail_contract.problems import handler400, handler403, handler404, handler500
from tests.contract.shop import views

__all__ = ["handler400", "handler403", "handler404", "handler500"]

router = SimpleRouter(trailing_slash=False)
router.register("set", views.TicketViewSet)
router.register("ageing", views.AgeingViewSet, basename="ageing")

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("", include("dovetail_contract.urls")),
    path("page/defect", views.defect),
    path("page/form", views.form),
    path("api/orders", views.OrderView.as_view()),
    path("api/v2/orders", views.OrderView.as_view()),
    path("api/v3/orders", views.OrderView.as_view()),
    path("api/fail/<str:how>", views.FailView.as_view()),
    path("api/private", views.PrivateView.as_view()),
    path("api/returned/<str:how>", views.ReturnedView.as_view()),
    path("api/items", views.ItemListView.as_view()),
    path("api/numbered/items", views.NumberedItemListView.as_view()),
    path("api/items/<uuid:pk>", views.ItemView.as_view()),
    path("api/shelf/<int:shelf>/items", views.ItemListView.as_view()),
    path("api/limited", views.LimitedView.as_view()),
    path("api/scoped", views.ScopedView.as_view()),
    path("api/tickets", views.TicketView.as_view()),
    path("api/tickets/old", views.OldTicketsView.as_view()),
    path("api/needy", views.NeedyView.as_view()),
    path("api/deaf", views.DeafView.as_view()),
    path("api/external", views.ExternalView.as_view()),
    path("api/", include(router.urls)),
    path("api/old", views.OldView.as_view()),
    path("api/form", views.form),
    path("api/html", views.html_refusal),
    path("api/json", views.json_refusal),
    path("api/keyed", views.KeyedView.as_view()),
    path("api/flattened", views.FlattenedView.as_view()),
    path("api/session", views.session),
    path("api/defect", views.defect),
    path("api/outage", views.outage),
    path("api/post", views.too_many_fields),
]
