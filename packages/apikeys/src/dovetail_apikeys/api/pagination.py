"""Keyset pagination by primary key, newest first, for this package's own list.

Projects with conventions of their own name their paginator in ``API_KEYS_PAGINATION_CLASS``.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from rest_framework import pagination
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class CursorPagination(pagination.CursorPagination):
    """``?cursor=`` and ``?limit=`` (1 to 200, default 50; anything else is 400).

    Answers ``{"data": […], "meta": {"next": cursor or null, "prev": cursor or null, "total": null}}``.
    """

    ordering = "-pk"
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> Any:
        try:
            return super().paginate_queryset(queryset, request, view)
        except NotFound as error:
            raise ValidationError({"cursor": ["Not a cursor of this list."]}, "invalid_query") from error

    def decode_cursor(self, request: Request) -> pagination.Cursor | None:
        if len(request.query_params.getlist("cursor")) > 1:
            raise NotFound
        cursor = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                UUID(str(cursor.position))
            except ValueError as error:
                raise NotFound from error
        return cursor

    def get_page_size(self, request: Request) -> int:
        given = ",".join(request.query_params.getlist("limit")) or str(self.page_size)
        if not re.fullmatch(r"[0-9]{1,9}", given) or not 1 <= int(given) <= self.max_page_size:
            message = f"Must be a whole number from 1 to {self.max_page_size}."
            raise ValidationError({"limit": [message]}, "invalid_query")
        return int(given)

    def get_paginated_response(self, data: Any) -> Response:
        links = {"next": self.get_next_link(), "prev": self.get_previous_link()}
        tokens = {name: parse_qs(urlsplit(link).query)["cursor"][0] if link else None for name, link in links.items()}
        header = ", ".join(f'<{link}>; rel="{name}"' for name, link in links.items() if link)
        body = {"data": data, "meta": {**tokens, "total": None}}
        return Response(body, headers={"Link": header} if header else None)

    def get_results(self, data: Any) -> Any:
        return data["data"]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        cursor = {"type": "string", "nullable": True}
        total = {"type": "integer", "nullable": True}
        meta = {"type": "object", "properties": {"next": cursor, "prev": cursor, "total": total}}
        return {
            "type": "object",
            "required": ["data", "meta"],
            "properties": {"data": schema, "meta": {**meta, "required": ["next", "prev", "total"]}},
        }
