from __future__ import annotations

import json

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.generics import CreateAPIView, ListAPIView
from rest_framework.serializers import BaseSerializer

from desk import serializers
from desk.errors import Closed
from desk.models import Notification, Request


class UserList(ListAPIView):
    queryset = User.objects.order_by("pk")
    serializer_class = serializers.UserSerializer


class NotificationList(ListAPIView):
    queryset = Notification.objects.none()
    serializer_class = serializers.NotificationSerializer

    def get_queryset(self) -> QuerySet[Notification]:
        return Notification.objects.filter(user=self.request.user.pk)


class RequestList(ListAPIView):
    queryset = Request.objects.none()
    serializer_class = serializers.RequestSerializer

    def get_queryset(self) -> QuerySet[Request]:
        return Request.objects.filter(customer__staff=self.request.user.pk).order_by("pk")


class ClosedView(CreateAPIView):
    def perform_create(self, serializer: BaseSerializer) -> None:
        raise Closed


@csrf_exempt
def delivery_report(request: HttpRequest) -> JsonResponse:
    """The carrier's program posts here, and reads ``reason`` if it is refused."""
    try:
        parcel = json.loads(request.body)["parcel"]
    except (KeyError, TypeError, ValueError):
        return JsonResponse({"reason": "no-parcel", "retry": False}, status=422)
    return JsonResponse({"parcel": parcel}, status=202)
