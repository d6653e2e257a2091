from __future__ import annotations

from typing import Any, TypeVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Model, QuerySet
from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.mixins import DestroyModelMixin, ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from dovetail_core.rest.views import RefusalMixin, RowsMixin, payload
from dovetail_notify import services
from dovetail_notify.api import serializers
from dovetail_notify.api.pagination import fetches_pages, paginate_inbox
from dovetail_notify.api.permissions import IsRecipient
from dovetail_notify.base import AbstractNotification, get_notification_model
from dovetail_notify.conf import conf
from dovetail_notify.inbox.reading import InboxFilter, inbox, requested_organization, unread, unread_of
from dovetail_notify.models import Device
from dovetail_notify.realtime.socket_authentication import TICKET_SECONDS, admission_of, issue_ticket
from dovetail_notify.transports.push.vapid import public_key
from dovetail_notify.types import registry

M = TypeVar("M", bound=Model)


class RecipientViewSet(RefusalMixin, RowsMixin, GenericViewSet[M]):
    """The base of views of the user's own rows. Rows of other users are 404."""

    permission_classes = (IsRecipient,)
    filter_backends = ()
    lookup_url_kwarg: str

    @property
    def pagination_class(self) -> Any:  # type: ignore[override]  # settings are read live
        return conf.PAGINATION_CLASS

    @property
    def recipient(self) -> AbstractBaseUser:
        user: AbstractBaseUser = self.request.user  # type: ignore[assignment]  # IsRecipient allows no other
        return user

    def get_object(self) -> M:
        text = self.kwargs[self.lookup_url_kwarg]
        # int() also accepts digits of other scripts, and databases refuse larger numbers.
        if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= serializers.MAX_ID):
            raise Http404
        instance: M | None = self.get_queryset().filter(pk=int(text)).first()
        if instance is None:
            raise Http404
        return instance

    def validate(self) -> Any:
        serializer = self.get_serializer(data=payload(self.request))
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data


class NotificationViewSet(RetrieveModelMixin, DestroyModelMixin, RecipientViewSet[AbstractNotification]):
    """The inbox of the signed-in user."""

    serializer_class = serializers.NotificationSerializer
    queryset = get_notification_model()._default_manager.none()
    lookup_url_kwarg = "notification_id"
    contract = {"filter": ("unread", "archived", "type", "category")}

    def get_rows(self) -> QuerySet[Any]:
        return inbox(self.recipient, organization_key=requested_organization(self.request))

    def get_object(self) -> AbstractNotification:
        notification = super().get_object()
        if notification.recipient_id == self.recipient.pk:
            notification.recipient = self.recipient  # so that the services do not query the user again
        return notification

    def get_serializer_class(self) -> Any:
        return {
            "partial_update": serializers.NotificationUpdateSerializer,
            "mark_read": serializers.MarkReadSerializer,
            "unread_count": serializers.UnreadCountSerializer,
            "ticket": serializers.TicketSerializer,
        }.get(self.action, self.serializer_class)

    def perform_destroy(self, instance: AbstractNotification) -> None:
        services.remove_notification(notification=instance)

    def list(self, request: Request) -> Response:
        """List notifications, newest first. Archived ones are only listed with `archived=true`."""
        filters = _filters(request)
        paginator = self.paginator
        # "page" and "total" of a contract need the queryset.
        by_key = not self._overrides_queryset and not {"page", "total"}.intersection(self.contract)
        if by_key and fetches_pages(paginator):
            organization = requested_organization(request)
            page: Any = paginate_inbox(paginator, request, shown=filters, organization_key=organization)
        else:
            page = self.paginate_queryset(filters.apply(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def partial_update(self, request: Request, notification_id: str) -> Response:
        return self._update(**self.validate())

    def read(self, request: Request, notification_id: str) -> Response:
        return self._update(read=True)

    def unread(self, request: Request, notification_id: str) -> Response:
        return self._update(read=False)

    def mark_read(self, request: Request) -> Response:
        """Mark the notifications in `ids`, or all with an id up to `upto`, as read.

        Marking all is not possible, because the user has not seen a notification that has just arrived.
        """
        data = self.validate()
        key = requested_organization(request)
        marked = services.mark_read(user=self.recipient, organization_key=key, **data)
        return Response(serializers.MarkedSerializer({"marked": marked, **self._unread()}).data)

    def unread_count(self, request: Request) -> Response:
        return Response(self.get_serializer(self._unread()).data)

    def ticket(self, request: Request) -> Response:
        """Create a ticket for one WebSocket: `new WebSocket(url, ["notify.v1", "ticket." + ticket])`."""
        ticket = issue_ticket(**admission_of(request)._asdict(), origin=request.headers.get("Origin"))
        # A cache must not store a credential.
        return Response(
            self.get_serializer({"ticket": ticket, "expires_in": TICKET_SECONDS}).data,
            status=status.HTTP_201_CREATED,
            headers={"Cache-Control": "no-store"},
        )

    def _update(self, **changes: bool) -> Response:
        notification = services.update_notification(notification=self.get_object(), **changes)
        return Response(serializers.NotificationSerializer(notification, context=self.get_serializer_context()).data)

    @property
    def _overrides_queryset(self) -> bool:
        """Whether this is a project's subclass with its own ``get_queryset()`` or ``get_rows()``."""
        own, cls = NotificationViewSet, type(self)
        return cls.get_queryset is not own.get_queryset or cls.get_rows is not own.get_rows

    def _unread(self) -> dict[str, Any]:
        if self._overrides_queryset:
            return unread(self.get_queryset())._asdict()
        return unread_of(self.recipient, organization_key=requested_organization(self.request))._asdict()


class DeviceViewSet(ListModelMixin, DestroyModelMixin, RecipientViewSet[Device]):
    """The devices that receive the user's push messages."""

    serializer_class = serializers.DeviceSerializer
    queryset = Device.objects.none()
    lookup_url_kwarg = "device_id"

    def get_rows(self) -> QuerySet[Device]:
        return Device.objects.filter(user=self.recipient.pk, retired_at=None)

    def create(self, request: Request) -> Response:
        """Register a device. A device of another user becomes a device of the signed-in user."""
        device = services.register_device(user=self.recipient, **self.validate())
        return Response(self.get_serializer(device).data, status=status.HTTP_201_CREATED)

    def perform_destroy(self, instance: Device) -> None:
        services.remove_device(device=instance)

    def web_push_key(self, request: Request) -> Response:
        """Return the key with which a browser subscribes. 404 if the project does not send Web Push."""
        if not conf.VAPID_PRIVATE_KEY:
            raise Http404
        return Response(serializers.WebPushKeySerializer({"public_key": public_key(conf.VAPID_PRIVATE_KEY)}).data)


def _filters(request: Request) -> InboxFilter:
    category = _text(request, "category")
    return InboxFilter(
        archived=bool(_flag(request, "archived")),
        unread=_flag(request, "unread"),
        type=_text(request, "type"),
        types=None if category is None else tuple(cls.key for cls in registry.all() if cls.category == category),
    )


def _flag(request: Request, name: str) -> bool | None:
    value = request.query_params.get(name)
    if value not in (None, "true", "false"):
        raise ValidationError({name: ["Must be true or false."]}, "invalid_query")
    return None if value is None else value == "true"


def _text(request: Request, name: str) -> str | None:
    value = request.query_params.get(name)
    if value is not None and ("\0" in value or len(value) > 100 or not value.isprintable()):
        raise ValidationError({name: ["Must be printable text of at most 100 characters."]}, "invalid_query")
    return value
