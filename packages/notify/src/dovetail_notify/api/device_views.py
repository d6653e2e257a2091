from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from dovetail_core.rest.views import payload
from dovetail_notify import services
from dovetail_notify.api.permissions import IsRecipient
from dovetail_notify.api.serializers import DeviceSerializer, WebPushKeySerializer
from dovetail_notify.api.views import key_or_404
from dovetail_notify.conf import conf
from dovetail_notify.models import Device
from dovetail_notify.transports.push.vapid import public_key


class DeviceViewSet(GenericViewSet[Any]):
    """The devices that receive the user's push messages."""

    permission_classes = (IsRecipient,)
    serializer_class = DeviceSerializer
    queryset = Device.objects.none()
    filter_backends = ()
    lookup_url_kwarg = "device_id"

    @property
    def pagination_class(self) -> Any:  # type: ignore[override]  # settings are read live
        return conf.PAGINATION_CLASS

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return Device.objects.filter(user=self.request.user.pk, retired_at=None)

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def create(self, request: Request) -> Response:
        """Register this device. A known device now belongs to the user who is signed in."""
        serializer = self.get_serializer(data=payload(request))
        serializer.is_valid(raise_exception=True)
        device = services.register_device(user=request.user, **serializer.validated_data)
        return Response(self.get_serializer(device).data, status=status.HTTP_201_CREATED)

    def web_push_key(self, request: Request) -> Response:
        """The key that a browser subscribes with. 404 if the project sends no Web Push."""
        if not conf.VAPID_PRIVATE_KEY:
            raise Http404
        return Response(WebPushKeySerializer({"public_key": public_key(conf.VAPID_PRIVATE_KEY)}).data)

    def destroy(self, request: Request, device_id: str) -> Response:
        device = self.get_queryset().filter(pk=key_or_404(device_id)).first()
        if device is None:
            raise Http404
        services.remove_device(device=device)
        return Response(status=status.HTTP_204_NO_CONTENT)
