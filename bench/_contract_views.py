"""The models and views that bench/contract.py measures. Import this module after Django is set up."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.cache import caches
from django.db import models
from django.urls import path
from rest_framework import generics, pagination, serializers, throttling
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTAuthentication as StockAuthentication

from dovetail_contract.filters import FilterBackend
from dovetail_contract.pagination import CursorPagination
from dovetail_contract.problems import exception_handler
from dovetail_contract.throttling import RateLimitThrottle
from dovetail_identity.api.authentication import JWTAuthentication
from dovetail_tenancy import get_membership_model
from dovetail_tenancy.api.permissions import InOrganization
from dovetail_tenancy.models import TenantModel


class Row(models.Model):  # noqa: DJ008  # never shown
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=50)
    created_at = models.DateTimeField()

    class Meta:
        app_label = "bench"
        indexes = [models.Index(fields=["created_at", "id"], name="bench_row_created")]


class RowSerializer(serializers.ModelSerializer[Row]):
    class Meta:
        model = Row
        fields = ["id", "name", "created_at"]


class TenantRow(TenantModel):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=50)
    created_at = models.DateTimeField()

    class Meta:
        app_label = "bench"
        indexes = [models.Index(fields=["organization", "created_at", "id"], name="bench_tenantrow_created")]


class PlainRow(models.Model):  # noqa: DJ008  # never shown
    """The same table without dovetail-tenancy."""

    id = models.BigAutoField(primary_key=True)
    organization_id = models.UUIDField()
    name = models.CharField(max_length=50)
    created_at = models.DateTimeField()

    class Meta:
        app_label = "bench"
        db_table = "bench_tenantrow"
        managed = False


class TenantRowSerializer(serializers.ModelSerializer[TenantRow]):
    class Meta:
        model = TenantRow
        fields = ["id", "name", "created_at"]


TWENTY = [{"id": number, "name": f"row {number}", "created_at": "2026-11-24T00:00:00Z"} for number in range(20)]


class Bare(APIView):
    authentication_classes = ()
    permission_classes = ()
    renderer_classes = (JSONRenderer,)

    def get(self, request: Any) -> Response:
        return Response(TWENTY)


class Limited(Bare):
    throttle_classes = (RateLimitThrottle,)


class RoundTrip(throttling.BaseThrottle):
    """The minimum cost of a throttle in Redis: a request of six bytes, and a response that is not parsed."""

    def allow_request(self, request: Any, view: Any) -> bool:
        wire.sendall(b"PING\r\n")
        return bool(wire.recv(64))


class RoundTripped(Bare):
    throttle_classes = (RoundTrip,)


def stock(rate: str, store: str) -> type[Bare]:
    class Throttle(throttling.AnonRateThrottle):
        cache = caches[store]
        scope = f"{rate}-{store}"  # a history for each
        THROTTLE_RATES = {scope: rate}

        def throttle_success(self) -> bool:
            # Held at one request below the limit: what a client that uses its limit costs.
            self.history = [self.now - 1] * (self.num_requests - 2)
            return bool(super().throttle_success())

    return type("Stock", (Bare,), {"throttle_classes": (Throttle,)})


def rows(database: str) -> Any:
    return Row.objects.using(database)


class Listed(generics.ListAPIView[Row]):
    authentication_classes = ()
    permission_classes = ()
    renderer_classes = (JSONRenderer,)
    serializer_class = RowSerializer
    pagination_class = None
    filter_backends = ()

    def get_queryset(self) -> Any:
        return rows(self.kwargs["database"]).order_by("created_at")


class BareList(Listed):
    def get_queryset(self) -> Any:
        return super().get_queryset()[:20]


class PagedList(Listed):
    pagination_class = CursorPagination


class FilteredList(BareList):
    contract = {"filter": {"name": ["eq"]}, "sort": ["created_at"]}
    filter_backends = (FilterBackend,)


class FullList(PagedList):
    contract = FilteredList.contract
    filter_backends = (FilterBackend,)
    throttle_classes = (RateLimitThrottle,)

    def get_exception_handler(self) -> Any:
        return exception_handler


class OfOrganization(generics.ListAPIView[TenantRow]):
    """Without the contract."""

    authentication_classes: Any = (JWTAuthentication,)
    permission_classes: Any = (IsAuthenticated, InOrganization)
    renderer_classes = (JSONRenderer,)
    serializer_class = TenantRowSerializer
    pagination_class: Any = None
    filter_backends: Any = ()
    queryset = TenantRow.objects.order_by("created_at")

    def get_queryset(self) -> Any:
        return super().get_queryset()[:20]


class OfOrganizationFull(OfOrganization):
    contract = FilteredList.contract
    pagination_class = CursorPagination
    filter_backends = (FilterBackend,)
    throttle_classes = (RateLimitThrottle,)

    def get_queryset(self) -> Any:
        return super(OfOrganization, self).get_queryset()

    def get_exception_handler(self) -> Any:
        return exception_handler


class OfOrganizationByHand(OfOrganization):
    """The same by plain REST framework: a query for the user, one for the membership, and one for the rows."""

    authentication_classes = (StockAuthentication,)
    permission_classes = (IsAuthenticated,)

    def get_queryset(self) -> Any:
        membership = get_membership_model()._base_manager.get(
            user=self.request.user.pk, organization=self.request.headers["X-Organization-ID"]
        )
        return PlainRow.objects.filter(organization_id=membership.organization_id).order_by("created_at")[:20]


class PageNumbers(pagination.PageNumberPagination):
    page_size = 50


class StockCursor(pagination.CursorPagination):
    page_size = 50
    ordering = ("created_at", "id")


urlpatterns = [
    path("api/bare", Bare.as_view()),
    path("api/limited", Limited.as_view()),
    path("api/roundtrip", RoundTripped.as_view()),
    path("api/<database>/list", BareList.as_view()),
    path("api/<database>/paged", PagedList.as_view()),
    path("api/<database>/filtered", FilteredList.as_view()),
    path("api/<database>/full", FullList.as_view()),
    path("api/<database>/organization", OfOrganization.as_view()),
    path("api/<database>/organization-full", OfOrganizationFull.as_view()),
    path("api/<database>/organization-by-hand", OfOrganizationByHand.as_view()),
    path("api/<database>/numbers", type("N", (Listed,), {"pagination_class": PageNumbers}).as_view()),
    path("api/<database>/stockcursor", type("S", (Listed,), {"pagination_class": StockCursor}).as_view()),
    path("api/<database>/cursor", type("C", (Listed,), {"pagination_class": CursorPagination}).as_view()),
]
RATES = {"60/min": "stock60", "10000/hour": "stock10000"}
for store_name in settings.CACHES:
    for rate, name in RATES.items():
        urlpatterns.append(path(f"api/{name}/{store_name}", stock(rate, store_name).as_view()))
REDIS = settings.CONTRACT_RATE_LIMIT_LOCATION
wire: Any = None
if REDIS:
    wire = socket.create_connection((urlsplit(REDIS).hostname or "localhost", urlsplit(REDIS).port or 6379))
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
