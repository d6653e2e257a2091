"""Keyset pagination by primary key, newest first.

Primary keys are unique and ordered (UUIDv7 or integers). Each page therefore costs the same, and no row is repeated or
skipped if others are added or deleted between two requests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError as InvalidValue
from django.core.signing import BadSignature, Signer
from django.db.models import Model
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from dovetail_core.translation import gettext as _


@dataclass(frozen=True, slots=True)
class Cursor:
    """Selects rows by ``pk__<lookup>=key``: older rows with ``lt`` and ``lte``, newer ones with ``gt`` and ``gte``."""

    lookup: str
    key: Any

    @property
    def backward(self) -> bool:
        return self.lookup in {"gt", "gte"}


#: Takes a cursor, or None for the first page, and a limit. Returns at most that many rows in the cursor's direction.
Fetch = Callable[[Cursor | None, int], list[Any]]


class KeysetPagination(BasePagination):
    """Pagination with ``?cursor=`` and ``?limit=`` (1 to ``max_limit``, default ``default_limit``), newest first.

    Repeated parameters, limits out of range and cursors of other lists are errors (400), never corrected or ignored.

    Responses have the form ``{"data": […], "meta": {"next": cursor or null, "prev": cursor or null, "total": null}}``,
    and a ``Link`` header (RFC 8288) with the absolute URLs. Cursors are opaque, signed, and valid for one path.
    """

    default_limit = 50
    max_limit = 200

    next: Cursor | None = None
    prev: Cursor | None = None

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        # queryset is Any because the base class also accepts sequences.
        def fetch(cursor: Cursor | None, limit: int) -> list[Any]:
            rows = queryset if cursor is None else queryset.filter(**{f"pk__{cursor.lookup}": cursor.key})
            return list(rows.order_by("pk" if cursor is not None and cursor.backward else "-pk")[:limit])

        return self.paginate(queryset.model, request, fetch)

    def paginate(self, model: type[Model], request: Request, fetch: Fetch) -> list[Any]:
        """Return a page of the rows of ``model`` that ``fetch`` returns, for lists that are not querysets."""
        self.request = request
        limit = self._limit()
        cursor = self._cursor(model)
        # An additional row shows whether another page follows, without a COUNT query.
        rows = fetch(cursor, limit + 1)
        more = len(rows) > limit
        rows = rows[:limit][::-1] if cursor is not None and cursor.backward else rows[:limit]
        self._set_neighbours(rows, cursor, more=more)
        return rows

    def get_paginated_response(self, data: object) -> Response:
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

    def get_schema_operation_parameters(self, view: APIView | None) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": self.max_limit, "default": self.default_limit}
        parameters: list[tuple[str, str, dict[str, Any]]] = [
            ("cursor", _("The `next` or `prev` cursor of another page."), {"type": "string"}),
            ("limit", _("Maximum number of items per page."), limit),
        ]
        return [
            {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
            for name, description, schema in parameters
        ]

    def _set_neighbours(self, page: Sequence[Any], cursor: Cursor | None, *, more: bool) -> None:
        backward = cursor is not None and cursor.backward
        if page:
            # The client came from a page at one end. The additional row shows whether there is one at the other end.
            if backward or more:
                self.next = Cursor("lt", page[-1].pk)
            if more if backward else cursor is not None:
                self.prev = Cursor("gt", page[0].pk)
        # All rows of the page have been deleted. The inclusive lookups lead back to the row of the cursor.
        elif cursor is not None and backward:
            self.next = Cursor("lte" if cursor.lookup == "gt" else "lt", cursor.key)
        elif cursor is not None:
            self.prev = Cursor("gte" if cursor.lookup == "lt" else "gt", cursor.key)

    def _parameter(self, name: str) -> str | None:
        values = self.request.query_params.getlist(name)
        if len(values) > 1:
            raise ValidationError({name: [_("This parameter must not be repeated.")]}, "invalid_query")
        return values[0] if values else None

    def _limit(self) -> int:
        text = self._parameter("limit")
        if text is None:
            return self.default_limit
        if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= self.max_limit:
            message = _("This must be a whole number from 1 to %(maximum)d.") % {"maximum": self.max_limit}
            raise ValidationError({"limit": [message]}, "invalid_query")
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
            message = _("This is not a cursor of this list. Use `meta.next` or `meta.prev` of a page unchanged.")
            raise ValidationError({"cursor": [message]}, "invalid_query") from error
