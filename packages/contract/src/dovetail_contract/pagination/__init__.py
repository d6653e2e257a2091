"""``REST_FRAMEWORK = {"DEFAULT_PAGINATION_CLASS": "dovetail_contract.pagination.CursorPagination"}``

``cursors`` signs the cursors, and ``keyset`` reads the pages.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.db.models import Model
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param

from dovetail_contract.conf import conf, contract_of
from dovetail_contract.pagination import cursors, keyset
from dovetail_contract.problems.builder import InvalidQuery, mistake
from dovetail_core import context
from dovetail_core.rest.pagination import Count, Cursor, Fetch, KeysetPagination

if TYPE_CHECKING:
    # Not at run time: rest_framework.views imports the default classes, and so this module.
    from rest_framework.views import APIView

_PREFERENCE = "return=total-count"


class CursorPagination(KeysetPagination):
    """``?cursor=`` and ``?limit=``. A cursor of another list and a limit out of range are 400.

    Answers ``{"data": […], "meta": {"next": cursor or null, "prev": cursor or null, "total": number or null}}`` and a
    ``Link`` header (RFC 8288) with the cursors as absolute URLs. The order is the queryset's, completed by its primary
    key. NULLs come last in both directions. There is no snapshot: a row appears once as long as its keys do not change.

    ``total`` is null unless the request has ``Prefer: return=total-count`` (RFC 7240), which counts up to
    ``CONTRACT_TOTAL_MAX`` rows, or the view has ``contract = {"total": "exact"}``. Views with
    ``contract = {"page": True}`` also accept ``?page=``, from 1, up to row ``CONTRACT_PAGE_MAX_ROWS``, because the
    database reads all rows before such a page. Subclasses may set ``default_limit`` and ``max_limit``.
    """

    # 0 means the setting, which may change after the import.
    default_limit = 0
    max_limit = 0
    preferred = False

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        self.request = request
        self.total = None
        limit = self.read_limit()
        rows, self.order = keyset.keys(queryset)
        contract = contract_of(view)
        skipped = self._skipped(limit) if contract.get("page") else 0
        cursor = self.read_cursor(queryset.model)
        found = keyset.page(rows, self.order, cursor, limit + 1, skipped=skipped)
        page = self.make_page(found, limit, cursor, first=cursor is None and not skipped)
        self._read_preference()
        if contract.get("total") == "exact":
            self.total = queryset.count()
        elif self.preferred:
            # A full count reads every row: 300 buffers for a list of 60 000, against 8 for the first thousand.
            self._set_total(queryset.order_by()[: conf.TOTAL_MAX + 1].count())
        return page

    def paginate(self, model: type[Model], request: Request, fetch: Fetch, *, count: Count | None = None) -> list[Any]:
        """Return a page of the rows of ``model`` that ``fetch`` returns by primary key, newest first.

        ``total`` is null without ``count``. ``"page"`` and ``"total"`` of the view's contract do not apply.
        """
        self.request = request
        self.total = None
        primary = model._meta.pk
        self.order = [keyset.Key(primary.attname, primary.attname, descending=True, nullable=False, field=primary)]
        limit, cursor = self.read_limit(), self.read_cursor(model)
        start = None if cursor is None else replace(cursor, key=cursor.key[0])
        page = self.make_page(fetch(start, limit + 1), limit, cursor, first=cursor is None)
        self._read_preference()
        if self.preferred and count is not None:
            self._set_total(count(conf.TOTAL_MAX + 1))
        return page

    def get_limits(self) -> tuple[int, int]:
        return self.default_limit or conf.PAGE_SIZE, self.max_limit or conf.MAX_PAGE_SIZE

    def get_key(self, row: object) -> tuple[Any, ...]:
        return tuple(key.value(row) for key in self.order)

    def get_url(self) -> str:
        return remove_query_param(super().get_url(), "page")

    def get_paginated_response(self, data: object) -> Response:
        response = super().get_paginated_response(data)
        # RFC 7240 2: caches must know that the response depends on this header.
        response.headers["Vary"] = "Prefer"
        if self.preferred and self.total is not None:
            response.headers["Preference-Applied"] = _PREFERENCE
        return response

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        cursor = {"type": "string", "nullable": True, "example": None}
        properties = {
            "next": {**cursor, "description": "The cursor of the next page, or null on the last page."},
            "prev": {**cursor, "description": "The cursor of the previous page, or null on the first page."},
            "total": {"type": "integer", "nullable": True, "description": "The total number of items, if counted."},
        }
        described = super().get_paginated_response_schema(schema)
        described["properties"]["meta"]["properties"] = properties
        return described

    def get_schema_operation_parameters(self, view: APIView | None) -> list[dict[str, Any]]:
        default, maximum = self.get_limits()
        limits = {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}
        numbers = {"type": "integer", "minimum": 1, "maximum": conf.PAGE_MAX_ROWS}
        cursor = {"type": "string", "format": "cursor"}
        # Any string, because unknown preferences are ignored.
        preferences = {"type": "string", "example": _PREFERENCE}
        parameters = [
            ("page", "query", f"The page number, instead of a cursor. Pages end at row {conf.PAGE_MAX_ROWS}.", numbers),
            ("Prefer", "header", f"`{_PREFERENCE}` (RFC 7240) requests `meta.total`, up to a maximum.", preferences),
            ("cursor", "query", "The start of the page: `next` or `prev` from another page of the same list.", cursor),
            ("limit", "query", "The maximum number of items on the page.", limits),
        ]
        if not contract_of(view).get("page"):
            del parameters[0]
        return [
            {"name": name, "in": location, "required": False, "description": description, "schema": schema}
            for name, location, description, schema in parameters
        ]

    def _read_preference(self) -> None:
        preferences = self.request.headers.get("Prefer", "").replace(";", ",").split(",")
        self.preferred = _PREFERENCE in (preference.strip().lower() for preference in preferences)

    def _set_total(self, counted: int) -> None:
        self.total = counted if counted <= conf.TOTAL_MAX else None

    def _skipped(self, limit: int) -> int:
        text = self.read_parameter("page")
        if text is None:
            return 0
        if "cursor" in self.request.query_params:
            raise InvalidQuery([mistake("page", _("Use either page or cursor."), code="conflicting")])
        if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) < 1:
            raise InvalidQuery([mistake("page", _("Must be a whole number of at least 1."), code="out_of_range")])
        if int(text) * limit > conf.PAGE_MAX_ROWS:
            # The database reads and discards all previous rows, so a client could make it read millions.
            detail = _("With %(limit)d items per page, the last page is %(last)d. Follow `meta.next` from there.")
            detail %= {"limit": limit, "last": conf.PAGE_MAX_ROWS // limit}
            raise InvalidQuery([mistake("page", detail, code="page_too_deep")], code="page_too_deep")
        return (int(text) - 1) * limit

    def _scope(self) -> str:
        # A cursor is valid only for this list, its filters and order, and the organization.
        others = sorted(
            (name, value)
            for name, values in self.request.query_params.lists()
            if name not in ("cursor", "limit", "page")
            for value in values
        )
        order = [(key.path, key.descending, type(key.field).__name__) for key in self.order]
        return json.dumps([self.request.path, str(context.organization_id()), others, order])

    def encode(self, cursor: Cursor) -> str:
        return cursors.encode(cursor, scope=self._scope())

    def decode(self, token: str, model: type[Model]) -> Cursor:
        try:
            return cursors.decode(token, scope=self._scope(), length=len(self.order))
        except cursors.InvalidCursor as error:
            raise self.error("cursor", "invalid_cursor") from error

    def error(self, parameter: str, code: str, **values: object) -> InvalidQuery:
        if code == "invalid_cursor":
            detail = _("Not a cursor of this list. Copy `meta.next` or `meta.prev` unchanged, or leave out the cursor.")
            return InvalidQuery([mistake(parameter, detail, code=code)], code=code)
        details = {
            "repeated": _("This parameter is repeated."),
            "out_of_range": _("Must be a whole number from 1 to %(maximum)d."),
        }
        return InvalidQuery([mistake(parameter, details[code] % values, code=code)])
