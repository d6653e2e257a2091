"""Keyset pagination by primary key, for this package's own lists.

Keys are unique and in the order of time, which ``created_at`` is not: a fan-out makes a thousand rows of one moment. So
a page costs the same wherever it lies, and rows that come or go between two requests are neither repeated nor skipped.
Projects with conventions of their own name their paginator in ``NOTIFY_PAGINATION_CLASS``; the contract package's,
which also sorts by other fields, takes this one's place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import ValidationError as InvalidValue
from django.core.signing import BadSignature, Signer
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from dovetail_notify.base import get_notification_model
from dovetail_notify.inbox.reading import InboxFilter as Shown
from dovetail_notify.inbox.reading import page

# Newest first: forward is towards smaller keys. The inclusive ones lead back from a page that lost all its rows.
_FORWARD: Final = ("lt", "lte")
_BACKWARD: Final = ("gt", "gte")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The rows whose key is ``lookup`` (lt, lte: forward; gt, gte: backward) than ``key``."""

    lookup: str
    key: Any

    @property
    def backward(self) -> bool:
        return self.lookup in _BACKWARD


class CursorPagination(BasePagination):
    """``?cursor=`` and ``?limit=`` (1 to 100, default 20; anything else is 400), newest first.

    Answers ``{"data": […], "meta": {"next": cursor or null, "prev": cursor or null, "total": null}}`` and a ``Link``
    header (RFC 8288) with the same as absolute URLs. Cursors are opaque, signed, and good for one path.
    """

    default_limit = 20
    max_limit = 100

    next: Cursor | None = None
    prev: Cursor | None = None

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        def fetch(cursor: Cursor | None, limit: int) -> list[Any]:
            rows = queryset if cursor is None else queryset.filter(**{f"pk__{cursor.lookup}": cursor.key})
            return list(rows.order_by("pk" if cursor is not None and cursor.backward else "-pk")[:limit])

        return self._paginate(queryset.model, request, fetch)

    def paginate_inbox(self, request: Request, *, shown: Shown, organization_key: str | None) -> list[Any]:
        """The page of the inbox of who is signed in."""

        def fetch(cursor: Cursor | None, limit: int) -> list[Any]:
            lookup, key = (None, None) if cursor is None else (cursor.lookup, cursor.key)
            return page(
                request.user, shown=shown, organization_key=organization_key, lookup=lookup, key=key, limit=limit
            )

        return self._paginate(get_notification_model(), request, fetch)

    def _paginate(self, model: Any, request: Request, fetch: Callable[[Cursor | None, int], list[Any]]) -> list[Any]:
        self.request = request
        limit = self._limit()
        cursor = self._cursor(model)
        # One row more than asked for tells whether another page follows, without a count.
        found = fetch(cursor, limit + 1)
        more = len(found) > limit
        found = found[:limit][::-1] if cursor is not None and cursor.backward else found[:limit]
        self._turn(found, cursor, more=more)
        return found

    def get_paginated_response(self, data: Any) -> Response:
        tokens = {"next": self._token(self.next), "prev": self._token(self.prev)}
        url = self.request.build_absolute_uri()
        links = [
            f'<{replace_query_param(url, "cursor", token)}>; rel="{relation}"'
            for relation, token in tokens.items()
            if token
        ]
        headers = {"Link": ", ".join(links)} if links else None
        return Response({"data": data, "meta": {**tokens, "total": None}}, headers=headers)

    def get_results(self, data: dict[str, Any]) -> Any:
        return data["data"]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        cursor = {"type": "string", "nullable": True}
        return {
            "type": "object",
            "required": ["data", "meta"],
            "properties": {
                "data": schema,
                "meta": {
                    "type": "object",
                    "required": ["next", "prev", "total"],
                    "properties": {"next": cursor, "prev": cursor, "total": {"type": "integer", "nullable": True}},
                },
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        limits = {"type": "integer", "minimum": 1, "maximum": self.max_limit, "default": self.default_limit}
        return [
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "description": "Where the page begins: `next` or `prev` of another page.",
                "schema": {"type": "string"},
            },
            {
                "name": "limit",
                "in": "query",
                "required": False,
                "description": "How many items a page has at most.",
                "schema": limits,
            },
        ]

    def _turn(self, page: Sequence[Any], cursor: Cursor | None, *, more: bool) -> None:
        if not page:
            if cursor is not None and cursor.backward:
                self.next = Cursor("lte" if cursor.lookup == "gt" else "lt", cursor.key)
            elif cursor is not None:
                self.prev = Cursor("gte" if cursor.lookup == "lt" else "gt", cursor.key)
            return
        backward = cursor is not None and cursor.backward
        # Where we came from there was a row a moment ago; towards the other end, the extra row knows.
        if backward or more:
            self.next = Cursor("lt", page[-1].pk)
        if more if backward else cursor is not None:
            self.prev = Cursor("gt", page[0].pk)

    def _parameter(self, name: str) -> str | None:
        given = self.request.query_params.getlist(name)
        if len(given) > 1:
            raise ValidationError({name: ["Given more than once."]}, code="invalid_query")
        return given[0] if given else None

    def _limit(self) -> int:
        given = self._parameter("limit")
        if given is None:
            return self.default_limit
        if not re.fullmatch(r"[0-9]{1,9}", given) or not 1 <= int(given) <= self.max_limit:
            raise ValidationError({"limit": [f"Must be a whole number from 1 to {self.max_limit}."]}, "invalid_query")
        return int(given)

    def _signer(self) -> Signer:
        return Signer(salt=f"dovetail_notify.cursor:{self.request.path}")

    def _token(self, cursor: Cursor | None) -> str | None:
        return self._signer().sign_object([cursor.lookup, str(cursor.key)]) if cursor else None

    def _cursor(self, model: Any) -> Cursor | None:
        given = self._parameter("cursor")
        if given is None:
            return None
        try:
            lookup, key = self._signer().unsign_object(given)
            return Cursor(lookup, model._meta.pk.to_python(key))
        except (BadSignature, InvalidValue) as error:
            message = "Not a cursor of this list. Take `meta.next` or `meta.prev` of a page as it is."
            raise ValidationError({"cursor": [message]}, "invalid_query") from error
