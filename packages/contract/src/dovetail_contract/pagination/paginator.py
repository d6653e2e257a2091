"""The paginator: signed cursors over the keyset of a list."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param
from rest_framework.views import APIView

from dovetail_contract.conf import conf
from dovetail_contract.pagination import cursors, keyset
from dovetail_contract.pagination.keyset import Position
from dovetail_contract.problems.invalid_query import InvalidQuery, mistake
from dovetail_core import context

_PREFERENCE = "return=total-count"


class CursorPagination(BasePagination):
    """``?cursor=`` and ``?limit=``. A cursor of another list, or a limit out of range, is 400.

    Answers ``{"data": […], "meta": {"next": cursor or null, "prev": cursor or null, "total": number or null}}`` and a
    ``Link`` header (RFC 8288) with the cursors as absolute URLs. The order is the queryset's, completed by its primary
    key; NULLs are last in either direction. A row appears once while its keys do not change: there is no snapshot.

    ``total`` is a number for ``Prefer: return=total-count`` (RFC 7240), up to ``CONTRACT_TOTAL_MAX`` rows, and on all
    requests to views with ``contract = {"total": "exact"}``; else null. Views with ``contract = {"page": True}`` also
    accept ``?page=``, from 1, up to row ``CONTRACT_PAGE_MAX_ROWS``: the database reads all rows before such a page, and
    its cursors are the same. Subclasses may set ``default_limit`` and ``max_limit``.
    """

    default_limit: int | None = None
    max_limit: int | None = None

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        self.request = request
        self.total: int | None = None
        self.preferred = False
        limit = self._limit()
        rows, self.order = keyset.keys(queryset)
        contract = getattr(view, "contract", None) or {}
        skipped = self._skipped(limit) if contract.get("page") else 0
        position = self._position()
        # One extra row tells whether another page follows, without a count.
        page = keyset.page(rows, self.order, position, limit + 1, skipped=skipped)
        more, page = len(page) > limit, page[:limit]
        if position is not None and position.backward:
            page.reverse()
        self._set_neighbours(page, position, more=more, first=position is None and not skipped)
        self._count(queryset, contract)
        return page

    def get_paginated_response(self, data: Any) -> Response:
        tokens = {"next": self._token(self.next), "prev": self._token(self.prev)}
        url = remove_query_param(self.request.build_absolute_uri(), "page")
        links = [
            f'<{replace_query_param(url, "cursor", token)}>; rel="{relation}"'
            for relation, token in tokens.items()
            if token
        ]
        # RFC 7240 2: the response depends on this header, and a cache must know.
        headers = {"Vary": "Prefer"}
        if links:
            headers["Link"] = ", ".join(links)
        if self.preferred and self.total is not None:
            headers["Preference-Applied"] = _PREFERENCE
        return Response({"data": data, "meta": {**tokens, "total": self.total}}, headers=headers)

    def get_results(self, data: dict[str, Any]) -> Any:
        return data["data"]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        cursor = {"type": "string", "nullable": True, "example": None}
        properties = {
            "next": {**cursor, "description": "Where the next page begins; null on the last."},
            "prev": {**cursor, "description": "Where the page before begins; null on the first."},
            "total": {"type": "integer", "nullable": True, "description": "How many items all pages have, if counted."},
        }
        meta = {"type": "object", "required": [*properties], "properties": properties}
        return {"type": "object", "required": ["data", "meta"], "properties": {"data": schema, "meta": meta}}

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        limits = {"type": "integer", "minimum": 1, "maximum": self._max_limit, "default": self._default_limit}
        page = {
            "name": "page",
            "in": "query",
            "required": False,
            "description": f"Which page, from 1, instead of a cursor: no further than row {conf.PAGE_MAX_ROWS}.",
            "schema": {"type": "integer", "minimum": 1, "maximum": conf.PAGE_MAX_ROWS},
        }
        return [
            *([page] if (getattr(view, "contract", None) or {}).get("page") else []),
            {
                "name": "Prefer",
                "in": "header",
                "required": False,
                "description": f"`{_PREFERENCE}` (RFC 7240) asks for `meta.total`, which is counted up to a bound.",
                # Any text: an unknown preference is ignored.
                "schema": {"type": "string"},
                "example": _PREFERENCE,
            },
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "description": "Where the page begins: `next` or `prev` of another page of the same list.",
                "schema": {"type": "string", "format": "cursor"},
            },
            {
                "name": "limit",
                "in": "query",
                "required": False,
                "description": "How many items a page has at most.",
                "schema": limits,
            },
        ]

    @property
    def _default_limit(self) -> int:
        return self.default_limit or conf.PAGE_SIZE

    @property
    def _max_limit(self) -> int:
        return self.max_limit or conf.MAX_PAGE_SIZE

    def _set_neighbours(self, rows: list[Any], position: Position | None, *, more: bool, first: bool) -> None:
        self.next: Position | None = None
        self.prev: Position | None = None
        if not rows:
            # All rows of this page were deleted: go back to the page before, including the row of the cursor.
            if position is not None:
                turned = Position(position.values, not position.backward, not position.inclusive)
                self.next, self.prev = (turned, None) if position.backward else (None, turned)
            return
        backward = position is not None and position.backward
        # In the direction of the cursor's origin there was a row; in the other one, the extra row decides.
        if backward or more:
            self.next = Position(self._values(rows[-1]))
        if more if backward else not first:
            self.prev = Position(self._values(rows[0]), backward=True)

    def _values(self, row: Any) -> tuple[Any, ...]:
        return tuple(key.value(row) for key in self.order)

    def _count(self, queryset: QuerySet[Any], contract: Mapping[str, Any]) -> None:
        preferences = self.request.headers.get("Prefer", "").replace(";", ",").split(",")
        self.preferred = _PREFERENCE in (preference.strip().lower() for preference in preferences)
        if contract.get("total") == "exact":
            self.total = queryset.count()
        elif self.preferred:
            # A count reads every row: 300 buffers for a list of 60 000, against 8 for the first thousand.
            counted = queryset.order_by()[: conf.TOTAL_MAX + 1].count()
            self.total = counted if counted <= conf.TOTAL_MAX else None

    def _parameter(self, name: str) -> str | None:
        values = self.request.query_params.getlist(name)
        if len(values) > 1:
            raise InvalidQuery([mistake(name, "Given more than once.", code="repeated")])
        return values[0] if values else None

    def _limit(self) -> int:
        text = self._parameter("limit")
        if text is None:
            return self._default_limit
        if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not 1 <= int(text) <= self._max_limit:
            detail = f"Must be a whole number from 1 to {self._max_limit}."
            raise InvalidQuery([mistake("limit", detail, code="out_of_range")])
        return int(text)

    def _skipped(self, limit: int) -> int:
        text = self._parameter("page")
        if text is None:
            return 0
        if "cursor" in self.request.query_params:
            raise InvalidQuery([mistake("page", "Either a page or a cursor.", code="conflicting")])
        if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) < 1:
            raise InvalidQuery([mistake("page", "Must be a whole number from 1.", code="out_of_range")])
        if int(text) * limit > conf.PAGE_MAX_ROWS:
            # The database reads and discards all rows before: a client must not make it read a million.
            deepest = conf.PAGE_MAX_ROWS // limit
            detail = f"With {limit} items a page, {deepest} is the last; go on from there by `meta.next`."
            raise InvalidQuery([mistake("page", detail, code="page_too_deep")], code="page_too_deep")
        return (int(text) - 1) * limit

    def _scope(self) -> str:
        """What a cursor is bound to: the list, its filters and order, and the organization."""
        others = sorted(
            (name, value)
            for name, values in self.request.query_params.lists()
            if name not in ("cursor", "limit", "page")
            for value in values
        )
        order = [(key.path, key.descending, type(key.field).__name__) for key in self.order]
        return json.dumps([self.request.path, str(context.organization_id()), others, order])

    def _token(self, position: Position | None) -> str | None:
        return cursors.encode(position, scope=self._scope()) if position else None

    def _position(self) -> Position | None:
        token = self._parameter("cursor")
        if token is None:
            return None
        try:
            return cursors.decode(token, scope=self._scope(), length=len(self.order))
        except cursors.InvalidCursor as error:
            detail = "Not a cursor of this list. Take `meta.next` or `meta.prev` of a page as it is, or begin anew."
            raise InvalidQuery([mistake("cursor", detail, code="invalid_cursor")], code="invalid_cursor") from error
