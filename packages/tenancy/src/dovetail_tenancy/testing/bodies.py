"""Request bodies for a serializer, and variants that contain a key of another organization's row."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from django.db import models
from django.http import HttpRequest
from rest_framework import serializers
from rest_framework.request import Request

from dovetail_tenancy.isolation.organization_model import get_organization_model
from dovetail_tenancy.testing.routes import Route
from dovetail_tenancy.testing.rows import MOMENT, Rows

Field: TypeAlias = "serializers.Field[Any, Any, Any, Any]"

_KINDS: list[tuple[type[Field], Any]] = [
    (serializers.BooleanField, True),
    (serializers.UUIDField, str(uuid.UUID(int=1))),
    (serializers.DateTimeField, MOMENT.isoformat()),
    (serializers.DateField, MOMENT.date().isoformat()),
    (serializers.TimeField, "03:04:05"),
    (serializers.DurationField, "01:00:00"),
    (serializers.JSONField, {}),
    (serializers.DictField, {}),
]
# Constant, so that the bodies of two organizations differ only in the keys of their rows.
_TEXT = "isolated-body-by-assert-isolated"


def serializer_of(route: Route, method: str, request: HttpRequest, arguments: Mapping[str, Any]) -> Any:
    """Return the serializer that the endpoint uses for the request, or None if it has none."""
    view_class = route.view_class
    if not hasattr(view_class, "get_serializer"):
        return None
    callback: Any = route.callback
    view = view_class(**getattr(callback, "initkwargs", {}))
    view.action_map = getattr(callback, "actions", None) or {}
    view.action = view.action_map.get(method)
    view.args, view.kwargs, view.format_kwarg = (), dict(arguments), None
    view.request = Request(request)
    view.request.user = request.user
    try:
        serializer = view.get_serializer()
    except Exception:  # noqa: BLE001  # the view may need a real request; bodies= then supplies the body
        return None
    return serializer if isinstance(serializer, serializers.BaseSerializer) else None


def body_for(serializer: Field | None, rows: Rows) -> dict[str, Any]:
    """Return a body with the required fields, and with the organization's rows in all fields that refer to a row."""
    body: dict[str, Any] = {}
    for name, field in getattr(serializer, "fields", {}).items():
        if field.read_only or isinstance(field, serializers.HiddenField):
            continue
        reference = _reference(name, field, rows)
        if reference is not None:
            body[name] = reference
        elif field.required:
            body[name] = _value(field, rows)
    return body


def _value(field: Field, rows: Rows) -> Any:
    if isinstance(field, serializers.ListSerializer):
        return [body_for(field.child, rows)]
    if isinstance(field, serializers.BaseSerializer):
        return body_for(field, rows)
    if isinstance(field, serializers.ListField):
        return [_value(field.child, rows)]
    if isinstance(field, serializers.ChoiceField):
        key = next(iter(field.choices), "")
        return [key] if isinstance(field, serializers.MultipleChoiceField) else key
    if isinstance(field, serializers.IntegerField | serializers.FloatField | serializers.DecimalField):
        number = field.min_value or 1
        return str(number) if isinstance(field, serializers.DecimalField) else number
    if isinstance(field, serializers.EmailField):
        return f"{_TEXT}@example.com"
    if isinstance(field, serializers.URLField):
        return f"https://example.com/{_TEXT}"
    text = _TEXT[: getattr(field, "max_length", None) or 32]
    return next((value for kind, value in _KINDS if isinstance(field, kind)), text)


def _reference(name: str, field: Field, rows: Rows) -> Any:
    """Return the value of a field that refers to one of the rows, or None for a field that refers to no row."""
    if isinstance(field, serializers.ManyRelatedField):
        reference = _reference(name, field.child_relation, rows)
        return None if reference is None else [reference]
    if isinstance(field, serializers.RelatedField):
        relation: Any = field
        return _first(rows, getattr(relation.queryset, "model", None), getattr(relation, "slug_field", "pk"))
    if isinstance(field, serializers.UUIDField | serializers.IntegerField | serializers.CharField):
        # Possibly a key that the serializer does not declare as a relation, so that the view must verify it.
        stem = name.removesuffix("_id").removesuffix("_pk").removesuffix("_uuid").replace("_", "")
        return _first(rows, next((model for model in rows if model._meta.model_name == stem), None), "pk")
    return None


def _first(rows: Rows, model: type[models.Model] | None, attribute: str) -> Any:
    row = next(iter(rows.get(model, {}).values()), None) if model else None
    return None if row is None else plain(row.get(attribute))


def plain(value: object) -> Any:
    """Return a value that JSON can represent."""
    return value if isinstance(value, int | str | bool | None) else str(value)


def mixed_bodies(ours: Any, theirs: object) -> Iterator[tuple[str, Any]]:
    """Yield our body with one value of theirs, for each place in which the two bodies differ, and the place."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        places = [(key, ours.get(key), value) for key, value in theirs.items()]
    elif isinstance(ours, list) and isinstance(theirs, list):
        places = [(index, *values) for index, values in enumerate(zip(ours, theirs, strict=False))]
    else:
        if ours != theirs:
            yield "", theirs
        return
    for key, own, other in places:
        for path, value in mixed_bodies(own, other):
            body = copy.copy(ours)
            body[key] = value
            yield f"{key}.{path}".rstrip("."), body


def with_owner(body: dict[str, Any], organization: models.Model) -> dict[str, Any]:
    """Return the body with the organization as the owner, even if the serializer has no such field."""
    name = get_organization_model()._meta.model_name or "organization"
    return {**body, **dict.fromkeys(("organization", "organization_id", name, f"{name}_id"), plain(organization.pk))}


def guessed_body(rows: Rows) -> dict[str, Any]:
    """Return a body for a view without a serializer: a key of each model, by the usual names of its field."""
    keys = {model._meta.model_name: next(iter(by_key)) for model, by_key in rows.items() if by_key}
    return {f"{name}{end}": plain(key) for name, key in keys.items() for end in ("", "_id")}
