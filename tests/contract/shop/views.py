from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.db.utils import ConnectionHandler
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, JsonResponse, StreamingHttpResponse
from django.utils.translation import gettext_lazy
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from rest_framework import serializers, status
from rest_framework.authentication import BaseAuthentication, BasicAuthentication, SessionAuthentication
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, AuthenticationFailed, ErrorDetail, Throttled, ValidationError
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet

from dovetail_contract import get_idempotency_model
from dovetail_contract.filters import FilterBackend
from dovetail_contract.idempotency.recovery import Outcome
from dovetail_contract.pagination import CursorPagination
from dovetail_contract.problems import Problem
from dovetail_contract.throttling import RateLimitThrottle
from dovetail_contract.validation.serializers import ModelSerializer
from tests.contract.shop.models import Item, Ticket


class LineSerializer(serializers.Serializer[Any]):
    sku = serializers.CharField(max_length=5)
    tags = serializers.ListField(child=serializers.IntegerField(), required=False)


class OrderSerializer(serializers.Serializer[Any]):
    title = serializers.CharField()
    status = serializers.ChoiceField(choices=["new"], required=False)
    lines = LineSerializer(many=True, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["title"] == "nothing":
            raise serializers.ValidationError("An order of nothing.")
        return attrs


class OpenView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)


class OrderView(OpenView):
    def get(self, request: Request) -> Response:
        return Response({"ok": True})

    def post(self, request: Request) -> Response:
        serializer = OrderSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response(serializer.data, status.HTTP_201_CREATED)


class Overdrawn(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "overdrawn"
    default_detail = "The account is overdrawn."


class Retired(APIException):
    status_code = status.HTTP_410_GONE


class Plain(APIException):
    """Sets a detail that REST framework has not converted to an ``ErrorDetail``."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "taken"

    def __init__(self, detail: Any) -> None:
        self.detail = detail


class Busy(Throttled):
    """A throttle of the project, with a detail of its own."""

    wait = 2.5

    def __init__(self, detail: Any) -> None:
        APIException.__init__(self, detail)


AWAY = {"ENGINE": "django.db.backends.sqlite3", "NAME": "/nowhere/at/all.sqlite3"}


class FailView(OpenView):
    """Raises the exception that the path names."""

    def get(self, request: Request, how: str) -> Response:
        failures: dict[str, Exception] = {
            "defect": RuntimeError("postgres://root:secret@db"),
            "forbidden": PermissionDenied("Orders are closed."),
            "forbidden_code": PermissionDenied("Orders are closed.", "closed", "for the log"),
            "forbidden_bare": PermissionDenied(),
            "overdrawn": Overdrawn(),
            "lazy": Plain(gettext_lazy("Conflict")),
            "members": Overdrawn({"detail": gettext_lazy("Conflict"), "code": "taken", "retry_in": 30, "status": 200}),
            "default_code": Overdrawn({"detail": "Wait.", "retry_in": 30}),
            "gone": Retired("Use orders."),
            "throttled": Throttled(wait=0.2),
            "throttled_text": Busy("Wait."),
            "throttled_members": Busy({"detail": "Wait.", "queue": "long"}),
            "throttled_list": Busy(["Wait."]),
            "values": Problem("x", balance=Decimal("30.00"), wait=timedelta(1), at=IPv4Address("10.0.0.1"), tags={"a"}),
            "problem": Problem("frozen", "Frozen.", status=409, balance=3, status_text="x", headers={"X-Extra": "1"}),
            "query": ValidationError({"limit": ["No."]}, "invalid_query"),
            "database": OperationalError("connection to server at 10.0.0.1 failed"),
            "status": Problem("", status=int(request.query_params.get("status", 400))),
        }
        if how == "away":
            # A database connection to a server that does not exist.
            ConnectionHandler({"default": AWAY})["default"].ensure_connection()
        raise failures[how]


class PrivateView(APIView):
    authentication_classes = (BasicAuthentication, SessionAuthentication)
    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        return Response({"user": request.user.pk})

    def post(self, request: Request) -> Response:
        raise Problem("expired", "Sign in anew.", status=401)


class KeyAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> None:
        raise AuthenticationFailed

    def authenticate_header(self, request: Request) -> str:
        return "Key"


class KeyedView(OpenView):
    """A view whose credential has a header of its own."""

    authentication_classes = (KeyAuthentication,)


class FlattenedView(KeyedView):
    """A view of a project whose errors have no code."""

    def get_exception_handler(self) -> Any:
        return lambda exc, context: Response({"error": str(exc.detail)}, exc.status_code)


AT = datetime(2026, 11, 1, tzinfo=UTC)


class ReturnedView(OpenView):
    """Returns errors instead of raising them."""

    def get(self, request: Request, how: str) -> HttpResponse:
        if how == "json":
            return JsonResponse({"error": "closed"}, status=409)
        bodies: dict[str, Any] = {
            "verbatim": {"error": "invalid_or_expired"},
            "other": {"error": "something"},
            "detail": {"detail": "Taken.", "code": "taken"},
            "lazy": {"detail": gettext_lazy("Conflict"), "code": "taken"},
            "error_detail": {"detail": ErrorDetail(gettext_lazy("Conflict"), "taken")},
            "members": {"detail": "Wait.", "retry_in": 30, "until": AT, "title": "No", "errors": 1, "instance": "/x"},
            "fields": {"name": ["Too long."]},
            "code_list": {"code": ["bad"]},
        }
        return Response(bodies[how], 401 if how == "code_list" else 400)


@csrf_protect
def form(request: HttpRequest) -> HttpResponse:
    return HttpResponse("fine")


def html_refusal(request: HttpRequest) -> HttpResponse:
    answer = HttpResponseForbidden("<h1>No</h1>")
    answer["X-Kept"] = "yes"
    answer.set_cookie("seen", "1")
    return answer


def json_refusal(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return JsonResponse({"error": "closed"}, status=409)


@csrf_exempt
def session(request: HttpRequest) -> HttpResponse:
    """Like a view of django-allauth, which says that nobody is signed in."""
    return JsonResponse({"meta": {"is_authenticated": False}}, status=401)


def defect(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("postgres://root:secret@db")


def outage(request: HttpRequest) -> HttpResponse:
    raise OperationalError("database is locked") from __import__("sqlite3").OperationalError("database is locked")


def too_many_fields(request: HttpRequest) -> HttpResponse:
    return HttpResponse(len(request.POST))


class ItemSerializer(serializers.ModelSerializer[Item]):
    class Meta:
        model = Item
        fields = ["id", "name", "kind", "rank", "price", "due_on", "created_at", "maker"]


class ItemListView(OpenView, ListAPIView[Item]):
    contract: ClassVar[dict[str, Any]] = {
        "filter": {
            "name": ["eq", "ne", "in", "contains", "istartswith"],
            "kind": ["eq", "in"],
            "rank": ["eq", "lt", "gte", "in", "nin", "isnull"],
            "price": ["eq", "lt", "gte"],
            "weight": ["eq", "gt"],
            "active": ["eq"],
            "due_on": ["eq", "gte"],
            "created_at": ["gte", "lt"],
            "id": ["eq", "in"],
            "maker": ["eq"],
            "made_by": {"path": "maker__name", "operators": ["eq", "istartswith"]},
        },
        "sort": ["created_at", "rank", "name", "price", {"made_by": "maker__name"}, "due_on", "kind"],
        "query": ["q"],
    }
    filter_backends = (FilterBackend,)
    queryset = Item.objects.order_by("-created_at")
    serializer_class = ItemSerializer
    pagination_class = CursorPagination


class NumberedItemListView(ItemListView):
    """Accepts page numbers."""

    contract: ClassVar[dict[str, Any]] = {"sort": ["rank"], "page": True}


class ItemView(OpenView, RetrieveAPIView[Item]):
    contract = ItemListView.contract
    filter_backends = (FilterBackend,)
    queryset = Item.objects.all()
    serializer_class = ItemSerializer


class LimitedView(OpenView):
    authentication_classes = (BasicAuthentication,)
    throttle_classes = (RateLimitThrottle,)
    contract: ClassVar[dict[str, Any]] = {"throttle": ["small", "unheard_of"]}

    def get(self, request: Request) -> Response:
        if "fail" in request.query_params:
            raise ValidationError("No.")
        return Response({"ok": True})


class ScopedView(OpenView):
    """Has a scope, as for ScopedRateThrottle."""

    throttle_classes = (RateLimitThrottle,)
    throttle_scope = "small"

    def get(self, request: Request) -> Response:
        return Response({"ok": True})


logger = logging.getLogger("shop")


class BearerAuthentication(BaseAuthentication):
    """``Bearer <user>.<anything>``: different tokens of one user."""

    def authenticate(self, request: Request) -> Any:
        name, _, rest = request.headers.get("Authorization", "").removeprefix("Bearer ").partition(".")
        return (User.objects.get(username=name), SimpleNamespace(organization_id=None)) if rest else None


class Broken(Response):
    """Cannot be rendered."""

    @property
    def rendered_content(self) -> Any:
        raise RuntimeError("secret")


@dataclass(frozen=True)
class KeyCredential:
    """Like an API key, with a public ``prefix``."""

    prefix: str
    organization_id: Any = None
    scopes: Any = ()


class KeyAuthentication(BaseAuthentication):
    """``Bearer key.<prefix>``: an API key."""

    def authenticate(self, request: Request) -> Any:
        name, _, prefix = request.headers.get("Authorization", "").removeprefix("Bearer ").partition(".")
        machine = SimpleNamespace(pk=f"apikey:{prefix}-id", is_authenticated=True)
        return (machine, KeyCredential(prefix)) if name == "key" else None


class OldTicketsView(APIView):
    """Deprecated and public. Logs a line."""

    authentication_classes = (KeyAuthentication, BearerAuthentication)
    permission_classes = (AllowAny,)
    contract: ClassVar[dict[str, Any]] = {"deprecated": {"since": "2024-01-01T00:00:00Z"}}

    def get(self, request: Request) -> Response:
        logger.warning("seen")
        if request.query_params.get("refuse"):
            raise Overdrawn
        return Response([])


class TicketView(APIView):
    """Writes a ticket, and then ends as its title demands."""

    authentication_classes = (BearerAuthentication, SessionAuthentication)
    permission_classes = (AllowAny,)
    contract: ClassVar[dict[str, Any]] = {"idempotency": "optional"}

    def post(self, request: Request) -> Response | StreamingHttpResponse:
        ticket = Ticket.objects.create(title=request.data["title"])
        body = {"id": ticket.pk, "title": ticket.title}
        match ticket.title:
            case "invalid":
                raise ValidationError({"title": ["No."]})
            case "conflict":
                raise Overdrawn
            case "defect":
                raise RuntimeError("secret")
            case "unavailable":
                return Response(body, status.HTTP_503_SERVICE_UNAVAILABLE)
            case "counted":
                return Response({"error": "invalid_or_expired"}, status.HTTP_400_BAD_REQUEST)
            case "secret":
                return Response(body, status.HTTP_201_CREATED, headers={"Cache-Control": "no-store", "Location": "/x"})
            case "streamed":
                return StreamingHttpResponse([b"a", b"b"])
            case "broken":
                return Broken(body)
            case "late":
                held = get_idempotency_model()._default_manager.all()
                held.update(attempt=9)
            case "slow":
                waiting(ticket)
        answer = Response(body, status.HTTP_201_CREATED, headers={"Location": f"/api/tickets/{ticket.pk}"})
        answer.set_cookie("seen", "1")
        return answer

    put = post


def waiting(ticket: Ticket) -> None:
    """Tests use it to stop a request between its effect and its response."""


class NeedyView(TicketView):
    contract: ClassVar[dict[str, Any]] = {"idempotency": "required"}


class DeafView(TicketView):
    contract: ClassVar[dict[str, Any]] = {"idempotency": "off"}


class ExternalView(TicketView):
    contract: ClassVar[dict[str, Any]] = {
        "idempotency": "optional",
        "external": True,
        "recover": "tests.contract.shop.views.recover",
    }


def recover(request: Request, record: Any) -> Any:
    return what_became(request, record)


def what_became(request: Request, record: Any) -> Any:
    """Tests use it to record external work."""
    return Outcome.UNKNOWN


class TicketViewSet(ModelViewSet[Ticket]):
    """Has no idempotency code."""

    class TicketSerializer(ModelSerializer[Ticket]):
        class Meta:
            model = Ticket
            fields = ["id", "title"]

    authentication_classes = (BearerAuthentication, SessionAuthentication)
    queryset = Ticket.objects.all()
    serializer_class = TicketSerializer
    contract: ClassVar[dict[str, Any]] = {}

    @action(detail=False, methods=["post"], contract={"idempotency": "required"})
    def one(self, request: Request) -> Response:
        return Response({})


class AgeingViewSet(TicketViewSet):
    """Two of its operations are deprecated."""

    filter_backends = (FilterBackend,)
    contract: ClassVar[dict[str, Any]] = {"deprecated": {"since": "2024-01-01T00:00:00Z", "only": ["PUT", "list"]}}


class OldView(OpenView):
    contract: ClassVar[dict[str, Any]] = {
        "deprecated": {
            "since": "2026-11-01T00:00:00Z",
            "sunset": "2126-05-01T00:00:00Z",
            "link": "https://example.com/old",
            "successor": "https://example.com/new",
        }
    }

    def get(self, request: Request) -> Response:
        """Return a time in the current time zone."""
        return Response({"at": serializers.DateTimeField().to_representation(datetime(1900, 1, 1, tzinfo=UTC))})
