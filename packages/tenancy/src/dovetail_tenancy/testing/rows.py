"""The rows of an organization: samples, the texts that identify them, references, and request bodies with keys."""

from __future__ import annotations

import copy
import datetime
import html
import json
import uuid
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, TypeAlias

from django.apps import apps
from django.db import Error, models, transaction
from django.http import HttpRequest
from rest_framework import serializers
from rest_framework.request import Request

from dovetail_tenancy.conf import membership_lookups
from dovetail_tenancy.isolation.fields import TenantModel
from dovetail_tenancy.isolation.scope import get_organization_model, tenant, unscoped
from dovetail_tenancy.organizations.project_models import database_of, get_membership_model, user_model
from dovetail_tenancy.testing.endpoints import Route

#: Shorter texts appear in responses by chance.
SHORTEST = 5
Rows = dict[type[models.Model], dict[Any, dict[str, Any]]]
Samples = dict[type[models.Model], models.Model]

_number = count(10_001)
MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def owned_models() -> dict[type[models.Model], str]:
    """Return the models whose rows belong to an organization, with the name of the foreign key to it.

    They are tenant models and other models that point at it: memberships, and tables that are not tenant models yet.
    """
    owned: dict[type[models.Model], str] = {}
    for model in apps.get_models():
        fields = [field for field in model._meta.concrete_fields if isinstance(field, models.ForeignKey)]
        names = [field.name for field in fields if field.related_model is get_organization_model()]
        if names and not model._meta.proxy:
            owned[model] = "organization" if "organization" in names else names[0]
    return owned


def rows_of(organization: models.Model) -> Rows:
    """Return all rows of an organization by model and key, with every column, and the organization's own row."""
    using = database_of(organization)
    own = type(organization)
    with unscoped(reason="assert_isolated reads the rows"):
        rows: Rows = {
            model: by_key(model._base_manager.using(using).filter(**{name: organization.pk}))
            for model, name in owned_models().items()
        }
        rows[own] = by_key(own._base_manager.using(using).filter(pk=organization.pk))
    return rows


def by_key(rows: models.QuerySet[models.Model]) -> dict[Any, dict[str, Any]]:
    columns = [field.attname for field in rows.model._meta.concrete_fields]
    return {row["pk"]: row for row in rows.order_by("pk").values("pk", *columns)}


def marks(rows: Rows, *, keys: bool = True) -> dict[str, str]:
    """Return the texts that reveal a row in a response, with the row and column of each."""
    texts: dict[str, str] = {}
    for model, by_key in rows.items():
        for key, row in by_key.items():
            for field in model._meta.concrete_fields:
                text = _mark(field, row[field.attname])
                if text is not None and (keys or not isinstance(row[field.attname], uuid.UUID)):
                    texts[text] = f"{model._meta.label} {key} ({field.name})"
    return texts


def _mark(field: models.Field[Any, Any], value: object) -> str | None:
    if isinstance(value, uuid.UUID):
        return str(value)
    if not isinstance(value, str) or field.choices or field.name == "password":
        return None
    return value if len(value) >= SHORTEST else None


def contains(body: str, text: str) -> bool:
    """Return whether the body contains the text, as it is or escaped for JSON or HTML."""
    return any(form in body for form in {text, json.dumps(text)[1:-1], html.escape(text), text.replace("-", "")})


def crossings(mine: Rows, theirs: Rows, using: str) -> Iterator[str]:
    """Describe the rows of one organization that refer to rows of the other."""
    with unscoped(reason="assert_isolated reads the references"):
        for model, by_key in mine.items():
            for field in (*model._meta.concrete_fields, *model._meta.local_many_to_many):
                target: Any = field.related_model
                keys = list(theirs.get(target, ())) if isinstance(target, type) else []
                if not by_key or not keys or (target is get_organization_model() and not field.many_to_many):
                    continue
                if _refers(model, field, list(by_key), keys, using):
                    yield f"a {model._meta.label} of ours refers to a {target._meta.label} of theirs by {field.name!r}"


def _refers(model: type[models.Model], field: Any, sources: list[Any], targets: list[Any], using: str) -> bool:
    # By keys, because a join between tenant models omits exactly these rows.
    ends = {"pk__in": sources, f"{field.name}__in": targets}
    if field.many_to_many:
        model = field.remote_field.through
        ends = {f"{field.m2m_field_name()}__in": sources, f"{field.m2m_reverse_field_name()}__in": targets}
    return model._base_manager.using(using).filter(**ends).exists()


class CannotMake(Exception):
    """A model needs more than its fields for a sample row."""


def make_rows(organization: models.Model) -> None:
    """Create one row of each tenant model for the organization. Raise ``CannotMake`` if a model needs more."""
    member = get_membership_model()._base_manager.filter(**membership_lookups(organization=organization.pk)).first()
    samples: Samples = {} if member is None else {user_model(): member.user}  # type: ignore[attr-defined]  # of a membership
    with tenant(organization):
        for model in apps.get_models():
            if issubclass(model, TenantModel) and model not in samples:
                _make(model, samples, database_of(organization))


def _make(model: type[models.Model], samples: Samples, using: str) -> models.Model:
    try:
        values = {field.name: _value(field, samples, using) for field in model._meta.concrete_fields if _needs(field)}
        with transaction.atomic(using=using):
            samples[model] = model._base_manager.using(using).create(**values)
    except (CannotMake, Error, TypeError, ValueError) as error:
        raise CannotMake(
            f"{model._meta.label} cannot be created from its fields alone: {error} Pass assert_isolated(make=…) a "
            "function that creates an organization's rows."
        ) from error
    return samples[model]


def _needs(field: Any) -> bool:
    if field.name == "organization" or getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return False
    # Creating a child row creates its parent's row.
    if getattr(field.remote_field, "parent_link", False):
        return False
    if field.primary_key:
        return not (field.has_default() or isinstance(field, models.AutoField))
    # Optional texts as well, because they identify the row.
    return not (field.null or field.has_default()) or (isinstance(field, models.CharField) and not field.choices)


def _value(field: Any, samples: Samples, using: str) -> Any:
    if field.is_relation:
        target = field.related_model
        row = samples.get(target)
        if row is None and not issubclass(target, TenantModel):
            row = target._base_manager.using(using).first()
        return row or (None if field.null else _make(target, samples, using))
    if field.choices:
        return next(key for key, _ in field.flatchoices if key not in (None, ""))
    number = next(_number)
    for kind, value in _values(field, number):
        if isinstance(field, kind):
            return value
    raise CannotMake(f"There is no sample value for {field}.")


def _values(field: models.Field[Any, Any], number: int) -> list[tuple[type[Any], Any]]:
    text = f"isolated-{number}-{uuid.uuid4().hex}"
    length = field.max_length or 40
    return [
        (models.EmailField, f"isolated-{number}@example.com"),
        (models.URLField, f"https://example.com/{text}"),
        (models.CharField, text[:length] if length >= 16 else str(number)[-length:]),
        (models.TextField, text),
        (models.UUIDField, uuid.uuid4()),
        (models.BooleanField, True),
        (models.DecimalField, 1),
        (models.FloatField, 1.0),
        (models.IntegerField, number % 32_000),
        (models.DateTimeField, MOMENT),
        (models.DateField, MOMENT.date()),
        (models.TimeField, MOMENT.time()),
        (models.DurationField, datetime.timedelta(hours=1)),
        (models.JSONField, {}),
        (models.BinaryField, b"isolated"),
        (models.GenericIPAddressField, "192.0.2.1"),
    ]


Field: TypeAlias = "serializers.Field[Any, Any, Any, Any]"

_BODY_VALUES: list[tuple[type[Field], Any]] = [
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
            body[name] = _body_value(field, rows)
    return body


def _body_value(field: Field, rows: Rows) -> Any:
    if isinstance(field, serializers.ListSerializer):
        return [body_for(field.child, rows)]
    if isinstance(field, serializers.BaseSerializer):
        return body_for(field, rows)
    if isinstance(field, serializers.ListField):
        return [_body_value(field.child, rows)]
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
    return next((value for kind, value in _BODY_VALUES if isinstance(field, kind)), text)


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
