"""Keyset pagination by primary key, newest first.

Keys are unique and ordered (UUIDv7 or integers), so each page costs the same, and rows that are added or deleted
between two requests are neither repeated nor skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import ValidationError as InvalidValue
from django.core.signing import BadSignature, Signer
from django.db.models import Model
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

# Newest first: forward is towards smaller keys. The inclusive lookups lead back from a page that lost all its rows.
_BACKWARD: Final = ("gt", "gte")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The rows whose primary key is ``lookup`` (lt, lte: forward; gt, gte: backward) than ``key``."""

    lookup: str
    key: Any

    @property
    def backward(self) -> bool:
        return self.lookup in _BACKWARD


#: Returns at most so many rows from a cursor on, in its direction; None is the beginning.
Fetch = Callable[[Cursor | None, int], list[Any]]


class KeysetPagination(BasePagination):
    """``?cursor=`` and ``?limit=`` (1 to ``max_limit``, default ``default_limit``), newest first.

    A parameter that is repeated, a limit out of range and a cursor of another list are 400, never clamped or ignored.

    Answers ``{"data": […], "meta": {"next": cursor or null, "prev": cursor or null, "total": null}}`` and a ``Link``
    header (RFC 8288) with the same as absolute URLs. Cursors are opaque, signed, and valid for one path.
    """

    default_limit = 50
    max_limit = 200

    next: Cursor | None = None
    prev: Cursor | None = None

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        # Any, because the base class also accepts sequences; this one needs a queryset.
        def fetch(cursor: Cursor | None, limit: int) -> list[Any]:
            rows = queryset if cursor is None else queryset.filter(**{f"pk__{cursor.lookup}": cursor.key})
            return list(rows.order_by("pk" if cursor is not None and cursor.backward else "-pk")[:limit])

        return self.paginate(queryset.model, request, fetch)

    def paginate(self, model: type[Model], request: Request, fetch: Fetch) -> list[Any]:
        """The page of rows of ``model`` that ``fetch`` gets, for lists that are no queryset."""
        self.request = request
        limit = self._limit()
        cursor = self._cursor(model)
        # One more row than the page has tells whether another page follows, without a count.
        rows = fetch(cursor, limit + 1)
        more = len(rows) > limit
        rows = rows[:limit][::-1] if cursor is not None and cursor.backward else rows[:limit]
        self._set_neighbours(rows, cursor, more=more)
        return rows

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

    def _set_neighbours(self, page: Sequence[Any], cursor: Cursor | None, *, more: bool) -> None:
        backward = cursor is not None and cursor.backward
        if not page:
            if cursor is not None and backward:
                self.next = Cursor("lte" if cursor.lookup == "gt" else "lt", cursor.key)
            elif cursor is not None:
                self.prev = Cursor("gte" if cursor.lookup == "lt" else "gt", cursor.key)
            return
        # There was a row where the client came from; the extra row tells about the other end.
        if backward or more:
            self.next = Cursor("lt", page[-1].pk)
        if more if backward else cursor is not None:
            self.prev = Cursor("gt", page[0].pk)

    def _parameter(self, name: str) -> str | None:
        values = self.request.query_params.getlist(name)
        if len(values) > 1:
            raise ValidationError({name: ["Given more than once."]}, code="invalid_query")
        return values[0] if values else None

    def _limit(self) -> int:
        text = self._parameter("limit")
        if text is None:
            return self.default_limit
        if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= self.max_limit:
            raise ValidationError({"limit": [f"Must be a whole number from 1 to {self.max_limit}."]}, "invalid_query")
        return int(text)

    def _signer(self) -> Signer:
        return Signer(salt=f"dovetail_core.cursor:{self.request.path}")

    def _token(self, cursor: Cursor | None) -> str | None:
        return self._signer().sign_object([cursor.lookup, str(cursor.key)]) if cursor else None

    def _cursor(self, model: type[Model]) -> Cursor | None:
        token = self._parameter("cursor")
        if token is None:
            return None
        try:
            lookup, key = self._signer().unsign_object(token)
            return Cursor(lookup, model._meta.pk.to_python(key))
        except (BadSignature, InvalidValue) as error:
            message = "Not a cursor of this list. Take `meta.next` or `meta.prev` of a page as it is."
            raise ValidationError({"cursor": [message]}, "invalid_query") from error
