"""Keyset pagination by primary key, newest first.

Primary keys are unique and ordered (UUIDv7 or integers). Each page therefore costs the same, and no row is repeated or
skipped if others are added or deleted between two requests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError as InvalidValue
from django.core.signing import BadSignature, Signer
from django.db.models import Model
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from dovetail_core.translation import gettext as _

if TYPE_CHECKING:
    # Not at run time: rest_framework.views imports the default classes, and so this module.
    from rest_framework.views import APIView


@dataclass(frozen=True, slots=True)
class Cursor:
    """The start of a page: after the row with this key, or at that row if ``inclusive``."""

    key: Any
    backward: bool = False
    inclusive: bool = False

    @property
    def lookup(self) -> str:
        """The lookup of the primary key: older rows with ``lt`` and ``lte``, newer ones with ``gt`` and ``gte``."""
        return ("gt" if self.backward else "lt") + ("e" if self.inclusive else "")


#: Takes a cursor, or None for the first page, and a limit. Returns at most that many rows in the cursor's direction.
Fetch = Callable[[Cursor | None, int], list[Any]]
#: Takes a limit. Returns the number of rows of the list, at most the limit, without loading them.
Count = Callable[[int], int]


class KeysetPagination(BasePagination):
    """Pagination with ``?cursor=`` and ``?limit=`` (1 to ``max_limit``, default ``default_limit``), newest first.

    Repeated parameters, limits out of range and cursors of other lists are errors (400), never corrected or ignored.

    Responses have the form ``{"data": […], "meta": {"next": cursor or null, "prev": cursor or null, "total": null}}``,
    and a ``Link`` header (RFC 8288) with the absolute URLs. Cursors are opaque, signed, and valid for one path.

    For another order or other errors, subclasses override ``get_limits``, ``get_key``, ``get_url``, ``encode``,
    ``decode`` and ``error``.
    """

    default_limit = 50
    max_limit = 200

    next: Cursor | None = None
    prev: Cursor | None = None
    total: int | None = None

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        # queryset is Any because the base class also accepts sequences.
        def fetch(cursor: Cursor | None, limit: int) -> list[Any]:
            rows = queryset if cursor is None else queryset.filter(**{f"pk__{cursor.lookup}": cursor.key})
            return list(rows.order_by("pk" if cursor is not None and cursor.backward else "-pk")[:limit])

        return self.paginate(queryset.model, request, fetch)

    def paginate(self, model: type[Model], request: Request, fetch: Fetch, *, count: Count | None = None) -> list[Any]:
        """Return a page of the rows of ``model`` that ``fetch`` returns, for lists that are not querysets.

        ``count`` is for subclasses with a total.
        """
        self.request = request
        limit, cursor = self.read_limit(), self.read_cursor(model)
        return self.make_page(fetch(cursor, limit + 1), limit, cursor, first=cursor is None)

    def get_limits(self) -> tuple[int, int]:
        """Return the default and the maximum of ``limit``."""
        return self.default_limit, self.max_limit

    def get_key(self, row: Any) -> Any:
        """Return the key of a cursor that starts at ``row``."""
        return row.pk

    def get_url(self) -> str:
        """Return the URL of the list, to which ``Link`` adds the cursors."""
        return self.request.build_absolute_uri()

    def get_paginated_response(self, data: object) -> Response:
        cursors = {"next": self.next, "prev": self.prev}
        tokens = {relation: self.encode(cursor) if cursor else None for relation, cursor in cursors.items()}
        url = self.get_url()
        links = [
            f'<{replace_query_param(url, "cursor", token)}>; rel="{relation}"'
            for relation, token in tokens.items()
            if token
        ]
        headers = {"Link": ", ".join(links)} if links else None
        return Response({"data": data, "meta": {**tokens, "total": self.total}}, headers=headers)

    def get_results(self, data: dict[str, Any]) -> Any:
        return data["data"]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        cursor = {"type": "string", "nullable": True}
        properties = {"next": cursor, "prev": cursor, "total": {"type": "integer", "nullable": True}}
        meta = {"type": "object", "required": [*properties], "properties": properties}
        return {"type": "object", "required": ["data", "meta"], "properties": {"data": schema, "meta": meta}}

    def get_schema_operation_parameters(self, view: APIView | None) -> list[dict[str, Any]]:
        default, maximum = self.get_limits()
        limit = {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}
        parameters: list[tuple[str, str, dict[str, Any]]] = [
            ("cursor", _("The `next` or `prev` cursor of another page."), {"type": "string"}),
            ("limit", _("Maximum number of items per page."), limit),
        ]
        return [
            {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
            for name, description, schema in parameters
        ]

    def make_page(self, rows: Sequence[Any], limit: int, cursor: Cursor | None, *, first: bool) -> list[Any]:
        """Return the first ``limit`` of ``rows`` in the order of the list, and set ``next`` and ``prev``.

        An additional row shows whether another page follows, without a COUNT query.
        """
        self.next = self.prev = None
        backward = cursor is not None and cursor.backward
        more = len(rows) > limit
        page = list(rows[:limit])[:: -1 if backward else 1]
        if page:
            # The client came from a page at one end. The additional row shows whether there is one at the other end.
            if backward or more:
                self.next = Cursor(self.get_key(page[-1]))
            if more if backward else not first:
                self.prev = Cursor(self.get_key(page[0]), backward=True)
        elif cursor is not None:
            # All rows of the page have been deleted. The way back includes the row of the cursor.
            reverse = Cursor(cursor.key, not cursor.backward, not cursor.inclusive)
            self.next, self.prev = (reverse, None) if backward else (None, reverse)
        return page

    def read_parameter(self, name: str) -> str | None:
        values = self.request.query_params.getlist(name)
        if len(values) > 1:
            raise self.error(name, "repeated")
        return values[0] if values else None

    def read_limit(self) -> int:
        default, maximum = self.get_limits()
        text = self.read_parameter("limit")
        if text is None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= maximum:
            raise self.error("limit", "out_of_range", maximum=maximum)
        return int(text)

    def read_cursor(self, model: type[Model]) -> Cursor | None:
        token = self.read_parameter("cursor")
        return None if token is None else self.decode(token, model)

    def encode(self, cursor: Cursor) -> str:
        return self._signer().sign_object([cursor.lookup, str(cursor.key)])

    def decode(self, token: str, model: type[Model]) -> Cursor:
        """Return the cursor of a token. Raise ``error("cursor", "invalid_cursor")`` for a token of another list."""
        try:
            lookup, key = self._signer().unsign_object(token)
            return Cursor(model._meta.pk.to_python(key), lookup.startswith("gt"), lookup.endswith("e"))
        except (BadSignature, InvalidValue) as error:
            raise self.error("cursor", "invalid_cursor") from error

    def error(self, parameter: str, code: str, **values: object) -> APIException:
        """Return the exception for a parameter that is ``repeated``, ``out_of_range`` or an ``invalid_cursor``."""
        messages = {
            "repeated": _("This parameter must not be repeated."),
            "out_of_range": _("This must be a whole number from 1 to %(maximum)d."),
            "invalid_cursor": _(
                "This is not a cursor of this list. Use `meta.next` or `meta.prev` of a page unchanged."
            ),
        }
        return ValidationError({parameter: [messages[code] % values]}, "invalid_query")

    def _signer(self) -> Signer:
        return Signer(salt=f"dovetail_core.cursor:{self.request.path}")
