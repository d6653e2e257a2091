from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

from dovetail_audit.reading.filters import InvalidFilters, described, filtered

if TYPE_CHECKING:
    # Not at run time: rest_framework.views imports the default classes, and so this module.
    from rest_framework.views import APIView


class EntryFilter(BaseFilterBackend):
    """``filter[field]=v`` and ``filter[field][operator]=v``, by the view's ``entry_filters``.

    The view names it itself, so that the filters work with any ``DEFAULT_FILTER_BACKENDS``.
    """

    def filter_queryset(self, request: Request, queryset: Any, view: APIView) -> Any:
        parameters = dict(request.query_params.lists())
        try:
            return filtered(queryset, parameters, view.entry_filters)  # type: ignore[attr-defined]  # views of this package
        except InvalidFilters as error:
            details = {mistake.parameter: [ErrorDetail(mistake.message, mistake.code)] for mistake in error.mistakes}
            raise ValidationError(details, "invalid_query") from error

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        if getattr(view, "action", None) not in ("list", "export"):
            return []
        sort = {
            "name": "sort",
            "in": "query",
            "required": False,
            "description": "The order: newest first.",
            "schema": {"type": "string", "enum": ["-id"]},
        }
        return [*described(view.entry_filters), sort]  # type: ignore[attr-defined]  # as above
