from __future__ import annotations

from typing import Any, TypeGuard

from django.db.models import QuerySet
from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from dovetail_notify import get_notification_model, services
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
from dovetail_notify.conf import conf
from dovetail_notify.inbox import Shown, inbox, unread, unread_of
from dovetail_notify.tickets import TICKET_SECONDS, issue_ticket
from dovetail_notify.types import registry


def payload(request: Request) -> Any:
    try:
        return request.data
    except RecursionError as error:  # a few kilobytes of "[", which the JSON parser lets through
        raise ParseError("The request body is nested too deeply.") from error


def key_or_404(text: str) -> int:
    # Ten digits of another script are digits to int() as well, and larger numbers an error to databases.
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= MAX_ID):
        raise Http404
    return int(text)


def organization_key(request: Request) -> str | None:
    """The organization that the request is for; None for everything of the user's."""
    found = conf.ORGANIZATION_RESOLVER(request) if conf.ORGANIZATION_RESOLVER else None
    found = getattr(found, "pk", found)
    return None if found is None else str(found)


class NotificationViewSet(GenericViewSet[Any]):
    """The inbox of who is signed in. Another person's notification is 404."""

    permission_classes = (IsRecipient,)
    serializer_class = NotificationSerializer
    queryset = get_notification_model()._default_manager.none()
    filter_backends = ()
    lookup_url_kwarg = "notification_id"
    contract = {"filter": ("unread", "archived", "type", "category")}

    @property
    def pagination_class(self) -> Any:  # type: ignore[override]  # read live, as every setting
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
        """Newest first; not those that were archived, unless `archived=true` asks for them."""
        shown = _shown(request)
        paginator = self.paginator
        if not self._has_rows_of_its_own and _is_ours(paginator):
            page: Any = paginator.paginate_inbox(request, shown=shown, organization_key=organization_key(request))
        else:
            page = self.paginate_queryset(shown.narrow(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @property
    def _has_rows_of_its_own(self) -> bool:
        """Whether this is a project's subclass that says itself which rows there are."""
        return type(self).get_queryset is not NotificationViewSet.get_queryset

    def _unread(self) -> dict[str, Any]:
        found = (
            unread(self.get_queryset())
            if self._has_rows_of_its_own
            else unread_of(self.request.user, organization_key=organization_key(self.request))
        )
        return {"unread": found.count, "capped": found.capped}

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
        """Those in `ids`, or all up to `upto`. Never simply all: one that came meanwhile was not seen."""
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
        # No cache may keep what opens a socket.
        return Response(
            self.get_serializer({"ticket": ticket, "expires_in": TICKET_SECONDS}).data,
            status=status.HTTP_201_CREATED,
            headers={"Cache-Control": "no-store"},
        )

    def _updated(self, **changes: bool) -> Response:
        notification = services.update_notification(notification=self.get_object(), **changes)
        return Response(NotificationSerializer(notification, context=self.get_serializer_context()).data)


def _is_ours(paginator: Any) -> TypeGuard[CursorPagination]:
    """Whether no project's subclass has a way of its own from rows to pages."""
    return (
        isinstance(paginator, CursorPagination)
        and type(paginator).paginate_queryset is CursorPagination.paginate_queryset
    )


def _shown(request: Request) -> Shown:
    type_key, category = (
        None if (given := request.query_params.get(name)) is None else _text(name, given)
        for name in ("type", "category")
    )
    return Shown(
        archived=bool(_flag(request, "archived")),
        unread=_flag(request, "unread"),
        type=type_key,
        types=None if category is None else tuple(cls.key for cls in registry.all() if cls.category == category),
    )


def _flag(request: Request, name: str) -> bool | None:
    given = request.query_params.get(name)
    if given not in (None, "true", "false"):
        raise ValidationError({name: ["true or false."]}, "invalid_query")
    return None if given is None else given == "true"


def _text(name: str, given: str) -> str:
    if "\0" in given or len(given) > 100 or not given.isprintable():
        raise ValidationError({name: ["Not a value of it."]}, "invalid_query")
    return given
