"""Request bodies for a serializer, and variants that contain a key of another organization's row."""

from __future__ import annotations

import copy
import datetime
import uuid
from collections.abc import Iterator
from typing import Any

from django.db import models
from rest_framework import serializers
from rest_framework.request import Request

from dovetail_tenancy.isolation.organization_model import get_organization_model
from dovetail_tenancy.testing.routes import Route
from dovetail_tenancy.testing.rows import Rows

_MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
_KINDS: list[tuple[type[serializers.Field[Any, Any, Any, Any]], Any]] = [
    (serializers.BooleanField, True),
    (serializers.DateTimeField, _MOMENT.isoformat()),
    (serializers.DateField, _MOMENT.date().isoformat()),
    (serializers.TimeField, "03:04:05"),
    (serializers.DurationField, "01:00:00"),
    (serializers.JSONField, {}),
    (serializers.DictField, {}),
]


def serializer_of(route: Route, method: str, request: Any, arguments: dict[str, Any]) -> Any:
    """Return the serializer that the endpoint uses for the request, or None if it has none."""
    view_class = route.view_class
    if not hasattr(view_class, "get_serializer"):
        return None
    callback: Any = route.callback
    view = view_class(**getattr(callback, "initkwargs", {}))
    view.action_map = getattr(callback, "actions", None) or {}
    view.action = view.action_map.get(method)
    view.args, view.kwargs, view.format_kwarg = (), arguments, None
    view.request = Request(request)
    view.request.user = request.user
    try:
        serializer = view.get_serializer()
    except Exception:  # noqa: BLE001  # the view may need a real request; bodies= then supplies the body
        return None
    return serializer if isinstance(serializer, serializers.BaseSerializer) else None


def body_for(serializer: Any, rows: Rows) -> dict[str, Any]:
    """Return a body with the required fields, and with the organization's rows in all fields that refer to a row."""
    body: dict[str, Any] = {}
    for name, field in getattr(serializer, "fields", {}).items():
        if field.read_only or isinstance(field, serializers.HiddenField):
            continue
        named = _named(name, field, rows)
        if named is not None:
            body[name] = named
        elif field.required:
            body[name] = _value(field, rows)
    return body


def _value(field: Any, rows: Rows) -> Any:
    if isinstance(field, serializers.ListSerializer):
        return [body_for(field.child, rows)]
    if isinstance(field, serializers.BaseSerializer):
        return body_for(field, rows)
    if isinstance(field, serializers.ListField):
        return [_value(field.child, rows)]
    if isinstance(field, serializers.ChoiceField):
        key = next(iter(field.choices), "")
        return [key] if isinstance(field, serializers.MultipleChoiceField) else key
    if isinstance(field, serializers.IntegerField | serializers.FloatField):
        return getattr(field, "min_value", None) or 1
    if isinstance(field, serializers.DecimalField):
        return str(field.min_value or 1)
    if isinstance(field, serializers.UUIDField):
        return str(uuid.UUID(int=1))
    return next((value for kind, value in _KINDS if isinstance(field, kind)), _text(field))


def _text(field: Any) -> str:
    # Constant, so that the bodies of two organizations differ only in the keys of their rows.
    text = "isolated-body-by-assert-isolated"
    if isinstance(field, serializers.EmailField):
        return f"{text}@example.com"
    return (
        f"https://example.com/{text}"
        if isinstance(field, serializers.URLField)
        else text[: getattr(field, "max_length", None) or 32]
    )


def _named(name: str, field: Any, rows: Rows) -> Any:
    """Return the value of a field that refers to one of the rows; None for a field that refers to no row."""
    if isinstance(field, serializers.ManyRelatedField):
        one = _named(name, field.child_relation, rows)
        return None if one is None else [one]
    if isinstance(field, serializers.RelatedField):
        relation: Any = field
        return _first(rows, getattr(relation.queryset, "model", None), getattr(relation, "slug_field", "pk"))
    if isinstance(field, serializers.UUIDField | serializers.IntegerField | serializers.CharField):
        # Possibly a key that the serializer does not declare as a relation, so that the view must verify it.
        return _first(rows, _model_named(name, rows), "pk")
    return None


def _model_named(name: str, rows: Rows) -> type[models.Model] | None:
    stem = name.removesuffix("_id").removesuffix("_pk").removesuffix("_uuid")
    return next((model for model in rows if model._meta.model_name == stem.replace("_", "")), None)


def _first(rows: Rows, model: type[models.Model] | None, attribute: str) -> Any:
    row = next(iter(rows.get(model, {}).values()), None) if model else None
    return None if row is None else plain(row.get(attribute))


def plain(value: Any) -> Any:
    return value if isinstance(value, int | str | bool | None) else str(value)


def mixed(ours: Any, theirs: Any) -> Iterator[tuple[str, Any]]:
    """Yield our body with one value of theirs, for each place in which the two bodies differ."""
    for path, value in _leaves(theirs):
        if _at(ours, path) != value:
            yield ".".join(map(str, path)), _replaced(ours, path, value)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def _at(body: Any, path: tuple[Any, ...]) -> Any:
    try:
        for key in path:
            body = body[key]
    except (KeyError, IndexError, TypeError):
        return None
    return body


def _replaced(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    replaced = place = copy.deepcopy(body)
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return replaced


def into_theirs(body: dict[str, Any], organization: Any) -> dict[str, Any]:
    """Return the body with the other organization as the owner, even if the serializer has no such field."""
    name = get_organization_model()._meta.model_name or "organization"
    return {**body, **dict.fromkeys(("organization", "organization_id", name, f"{name}_id"), plain(organization.pk))}


def guessed(rows: Rows) -> dict[str, Any]:
    """Return a body for a view without a serializer: a key of each model, by the usual names of its field."""
    keys = {model._meta.model_name: next(iter(by_key)) for model, by_key in rows.items() if by_key}
    return {f"{name}{end}": plain(key) for name, key in keys.items() for end in ("", "_id")}
