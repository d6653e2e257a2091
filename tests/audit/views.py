from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, path
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import NotAuthenticated
from rest_framework.exceptions import PermissionDenied as Forbidden
from rest_framework.permissions import AllowAny, IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from dovetail_audit import record
from dovetail_core.events import emit
from tests.audit.shop.models import Product


class Things(APIView):
    permission_classes = [AllowAny]

    def get(self, request: Request) -> Response:
        return Response({"actor": record("thing.read").actor})

    def post(self, request: Request) -> Response:
        """Change something, then end as ``request.data`` says."""
        product = Product.objects.create(name="Tea")
        emit("thing.created", target=product, data=dict(request.data.get("data", {})))
        match request.data.get("end"):
            case "forbidden":
                raise Forbidden({"code": "no_seat"})
            case "unauthenticated":
                raise NotAuthenticated
            case "denied_event":
                emit("thing.denied", data={"status": 403})
                raise PermissionDenied
            case "crash":
                raise RuntimeError
        return Response({}, status=201)


class TokenThings(APIView):
    authentication_classes = [TokenAuthentication]
    permission_classes = [AllowAny]

    def get(self, request: Request) -> Response:
        record("thing.read")
        return Response({})


class EarlyThings(Things):
    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        record("thing.begun")
        super().initial(request, *args, **kwargs)


class AdminThings(APIView):
    admin = {"permission": "shop.view_product"}
    permission_classes = [IsAdminUser]

    def get(self, request: Request) -> Response:
        record("thing.read")
        return Response({})


def page(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    for _ in range(int(request.GET.get("times", "1"))):
        record("page.read")
    if "denied" in request.GET:
        raise PermissionDenied
    return HttpResponse("page")


async def apage(request: HttpRequest) -> HttpResponse:
    if "event" in request.GET:
        emit(request.GET["event"])
    raise PermissionDenied


urlpatterns: list[URLPattern | URLResolver] = [
    path("things/", Things.as_view()),
    path("token-things/", TokenThings.as_view()),
    path("early-things/", EarlyThings.as_view()),
    path("admin-things/", AdminThings.as_view()),
    path("page/", page),
    path("async-page/", apage),
    path("reset/<str:token>/", page),
]
