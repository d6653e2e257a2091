"""The filters of the list of flags: ``filter[enabled]`` and others."""

from __future__ import annotations

import json
from typing import Any, Final

from django.db import connections
from django.db.models import BinaryField, Func, Q, TextField, Value
from django.db.models.functions import Cast, StrIndex
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

from dovetail_flags.lifecycle.stale import stale

NAMES: Final = ("enabled", "stale", "archived", "tag", "owner")
_BOOLEANS: Final = {"true": True, "false": False}


class FlagFilters(BaseFilterBackend):
    """Unknown and repeated filters are 400: a client that lists flags in order to archive them must not get all."""

    def filter_queryset(self, request: Request, queryset: Any, view: Any) -> Any:
        values = _read(request)
        for name in ("enabled", "stale", "archived"):
            if name in values and values[name] not in _BOOLEANS:
                raise _invalid(name, _("Must be true or false."))
        if "enabled" in values:
            queryset = queryset.filter(enabled=_BOOLEANS[values["enabled"]])
        if "archived" in values:
            queryset = queryset.filter(archived_at__isnull=not _BOOLEANS[values["archived"]])
        if "stale" in values:
            queryset = queryset.filter(stale()) if _BOOLEANS[values["stale"]] else queryset.exclude(stale())
        if "owner" in values:
            queryset = _owned(queryset, values["owner"])
        return _tagged(queryset, values["tag"]) if "tag" in values else queryset

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        boolean, text = {"type": "boolean"}, {"type": "string"}
        schemas = {name: text if name in ("tag", "owner") else boolean for name in NAMES}
        return [
            {"name": f"filter[{name}]", "in": "query", "required": False, "description": "", "schema": schema}
            for name, schema in schemas.items()
        ]


def _read(request: Request) -> dict[str, str]:
    values: dict[str, str] = {}
    for parameter, texts in request.query_params.lists():
        if not parameter.startswith("filter"):
            continue
        name = parameter[len("filter[") : -1] if parameter.startswith("filter[") and parameter.endswith("]") else ""
        if name not in NAMES:
            allowed = ", ".join(f"filter[{item}]" for item in NAMES)
            raise ValidationError({parameter: [_("Unknown filter. The filters are: %s.") % allowed]}, "invalid_query")
        if len(texts) > 1:
            raise _invalid(name, _("This parameter must not be repeated."))
        # Databases refuse it.
        if "\0" in texts[0]:
            raise _invalid(name, _("Null characters are not allowed."))
        values[name] = texts[0]
    return values


def _invalid(name: str, message: str) -> ValidationError:
    return ValidationError({f"filter[{name}]": [message]}, "invalid_query")


def _owned(queryset: Any, owner: str) -> Any:
    queryset = queryset.filter(owner=owner)
    if connections[queryset.db].vendor == "mysql":
        # As bytes too: the collations of MariaDB ignore case, accents and trailing spaces.
        # Django's Cast writes the type of a column there, which is no type of a cast.
        as_bytes = Func("owner", template="CAST(%(expressions)s AS BINARY)", output_field=BinaryField())
        queryset = queryset.alias(owner_bytes=as_bytes).filter(owner_bytes=owner.encode())
    return queryset


def _tagged(queryset: Any, tag: str) -> Any:
    # As text, because SQLite has no operator for a member of a JSON list. PostgreSQL stores characters as they are,
    # the others as Python's encoder writes them.
    written = {json.dumps(tag), json.dumps(tag, ensure_ascii=False)}
    queryset = queryset.annotate(tags_text=Cast("tags", TextField()))
    condition = Q()
    for number, text in enumerate(sorted(written)):
        # LIKE ignores case on SQLite, and the position does on MariaDB.
        queryset = queryset.annotate(**{f"position_{number}": StrIndex("tags_text", Value(text))})
        condition |= Q(**{"tags_text__contains": text, f"position_{number}__gt": 0})
    return queryset.filter(condition)
