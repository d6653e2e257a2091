"""The filters of the list of jobs: ``filter[state]`` and ``filter[name]``."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import Q
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

from dovetail_adminapi.jobs import states
from dovetail_adminapi.models import NAME_LENGTH, JobState

_NAMES: Final = ("state", "name")


class JobFilter(BaseFilterBackend):
    """Unknown and repeated filters are 400, so that a mistyped one does not return all jobs."""

    def filter_queryset(self, request: Request, queryset: Any, view: Any) -> Any:
        for parameter, values in request.query_params.lists():
            if parameter.startswith("filter"):
                if len(values) > 1:
                    raise _invalid(parameter, _("This parameter must not be repeated."))
                queryset = queryset.filter(_condition(parameter, values[0]))
        return queryset

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        if getattr(view, "action", None) != "list":
            return []
        schemas = {"state": {"type": "string", "enum": JobState.values}, "name": {"type": "string"}}
        return [
            {"name": f"filter[{name}]", "in": "query", "required": False, "description": "", "schema": schemas[name]}
            for name in _NAMES
        ]


def _condition(parameter: str, value: str) -> Q:
    if parameter == "filter[state]":
        if value not in JobState.values:
            raise _invalid(parameter, _("The value must be one of: %s.") % ", ".join(JobState.values))
        return states.in_state(value)
    if parameter == "filter[name]":
        if "\0" in value or len(value) > NAME_LENGTH:
            raise _invalid(parameter, _("The value is not a name of a job."))
        return Q(name=value)
    names = ", ".join(f"filter[{name}]" for name in _NAMES)
    raise _invalid(parameter, _("Unknown filter. The filters are: %s.") % names)


def _invalid(parameter: str, message: str) -> ValidationError:
    return ValidationError({parameter: [message]}, "invalid_query")
