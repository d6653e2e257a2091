"""The rows of an organization: samples of them, the texts that identify them, and their references."""

from __future__ import annotations

import datetime
import html
import json
import uuid
from collections.abc import Iterator
from itertools import count
from typing import Any

from django.apps import apps
from django.db import Error, models, transaction

from dovetail_tenancy.isolation.organization_model import get_organization_model
from dovetail_tenancy.isolation.scope import tenant, unscoped
from dovetail_tenancy.isolation.tenant_model import TenantModel
from dovetail_tenancy.organizations.project_models import database_of, get_membership_model, user_model

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
            model: _by_key(model._base_manager.using(using).filter(**{name: organization.pk}))
            for model, name in owned_models().items()
        }
        rows[own] = _by_key(own._base_manager.using(using).filter(pk=organization.pk))
    return rows


def _by_key(rows: models.QuerySet[models.Model]) -> dict[Any, dict[str, Any]]:
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
    member = get_membership_model()._base_manager.filter(organization=organization.pk).first()
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
    """Return whether a sample row has a value for the field."""
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
