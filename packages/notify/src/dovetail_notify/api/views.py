from __future__ import annotations

from typing import Any, TypeGuard

from django.db.models import QuerySet
from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from dovetail_core.rest.views import payload
from dovetail_notify import services
from dovetail_notify.api.pagination import CursorPagination
from dovetail_notify.api.permissions import IsRecipient
from dovetail_notify.api.serializers import (
    MAX_ID,
    MarkedSerializer,
    MarkReadSerializer,
    NotificationSerializer,
    NotificationUpdateSerializer,
    TicketSerializer,
    UnreadCountSerializer,
)
from dovetail_notify.base import get_notification_model
from dovetail_notify.conf import conf
from dovetail_notify.inbox.reading import InboxFilter, inbox, unread, unread_of
from dovetail_notify.realtime.tickets import TICKET_SECONDS, issue_ticket
from dovetail_notify.types import registry


def key_or_404(text: str) -> int:
    # int() also accepts digits of other scripts, and databases refuse larger numbers.
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= MAX_ID):
        raise Http404
    return int(text)


def organization_key(request: Request) -> str | None:
    """Return the key of the request's organization, or None for all notifications of the user."""
    organization = conf.ORGANIZATION_RESOLVER(request) if conf.ORGANIZATION_RESOLVER else None
    key = getattr(organization, "pk", organization)
    return None if key is None else str(key)


class NotificationViewSet(GenericViewSet[Any]):
    """The inbox of the signed-in user. Another user's notification is 404."""

    permission_classes = (IsRecipient,)
    serializer_class = NotificationSerializer
    queryset = get_notification_model()._default_manager.none()
    filter_backends = ()
    lookup_url_kwarg = "notification_id"
    contract = {"filter": ("unread", "archived", "type", "category")}

    @property
    def pagination_class(self) -> Any:  # type: ignore[override]  # settings are read live
        return conf.PAGINATION_CLASS

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return inbox(self.request.user, organization_key=organization_key(self.request))

    def get_serializer_class(self) -> Any:
        return {
            "partial_update": NotificationUpdateSerializer,
            "mark_read": MarkReadSerializer,
            "unread_count": UnreadCountSerializer,
            "ticket": TicketSerializer,
        }.get(self.action, self.serializer_class)

    def get_object(self) -> Any:
        row = self.get_queryset().filter(pk=key_or_404(self.kwargs["notification_id"])).first()
        if row is None:
            raise Http404
        return row

    def list(self, request: Request) -> Response:
        """Newest first, without archived ones; `archived=true` lists only those."""
        filters = _filters(request)
        paginator = self.paginator
        if not self._overrides_queryset and _is_own_paginator(paginator):
            page: Any = paginator.paginate_inbox(request, shown=filters, organization_key=organization_key(request))
        else:
            page = self.paginate_queryset(filters.apply(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @property
    def _overrides_queryset(self) -> bool:
        """Whether this is a project's subclass with its own ``get_queryset()``."""
        return type(self).get_queryset is not NotificationViewSet.get_queryset

    def _unread(self) -> dict[str, Any]:
        result = (
            unread(self.get_queryset())
            if self._overrides_queryset
            else unread_of(self.request.user, organization_key=organization_key(self.request))
        )
        return {"unread": result.count, "capped": result.capped}

    def retrieve(self, request: Request, notification_id: str) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    def partial_update(self, request: Request, notification_id: str) -> Response:
        serializer = self.get_serializer(data=payload(request))
        serializer.is_valid(raise_exception=True)
        return self._updated(**serializer.validated_data)

    def destroy(self, request: Request, notification_id: str) -> Response:
        services.remove_notification(notification=self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    def read(self, request: Request, notification_id: str) -> Response:
        return self._updated(read=True)

    def unread(self, request: Request, notification_id: str) -> Response:
        return self._updated(read=False)

    def mark_read(self, request: Request) -> Response:
        """Mark those in `ids`, or all up to `upto`. Not all: a notification that just arrived was not seen."""
        serializer = self.get_serializer(data=payload(request))
        serializer.is_valid(raise_exception=True)
        key = organization_key(request)
        marked = services.mark_read(user=request.user, organization_key=key, **serializer.validated_data)
        return Response(MarkedSerializer({"marked": marked, **self._unread()}).data)

    def unread_count(self, request: Request) -> Response:
        return Response(self.get_serializer(self._unread()).data)

    def ticket(self, request: Request) -> Response:
        """A ticket for one WebSocket: `new WebSocket(url, ["notify.v1", "ticket." + ticket])`."""
        session, expires_at = conf.CREDENTIAL(request)
        ticket = issue_ticket(
            user=request.user,
            organization_key=organization_key(request),
            session=session,
            expires_at=expires_at,
            origin=request.headers.get("Origin"),
        )
        # A cache must not store a credential.
        return Response(
            self.get_serializer({"ticket": ticket, "expires_in": TICKET_SECONDS}).data,
            status=status.HTTP_201_CREATED,
            headers={"Cache-Control": "no-store"},
        )

    def _updated(self, **changes: bool) -> Response:
        notification = services.update_notification(notification=self.get_object(), **changes)
        return Response(NotificationSerializer(notification, context=self.get_serializer_context()).data)


def _is_own_paginator(paginator: Any) -> TypeGuard[CursorPagination]:
    """Whether the paginator is this package's, without another ``paginate_queryset()`` in a project's subclass."""
    return (
        isinstance(paginator, CursorPagination)
        and type(paginator).paginate_queryset is CursorPagination.paginate_queryset
    )


def _filters(request: Request) -> InboxFilter:
    type_key, category = (
        None if (value := request.query_params.get(name)) is None else _text(name, value)
        for name in ("type", "category")
    )
    return InboxFilter(
        archived=bool(_flag(request, "archived")),
        unread=_flag(request, "unread"),
        type=type_key,
        types=None if category is None else tuple(cls.key for cls in registry.all() if cls.category == category),
    )


def _flag(request: Request, name: str) -> bool | None:
    value = request.query_params.get(name)
    if value not in (None, "true", "false"):
        raise ValidationError({name: ["true or false."]}, "invalid_query")
    return None if value is None else value == "true"


def _text(name: str, value: str) -> str:
    if "\0" in value or len(value) > 100 or not value.isprintable():
        raise ValidationError({name: ["Not a value of it."]}, "invalid_query")
    return value
