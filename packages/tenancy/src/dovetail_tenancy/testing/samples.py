"""Sample rows: one of each tenant model, with unique values."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable
from itertools import count
from typing import Any

from django.apps import apps
from django.db import Error, models, transaction

from dovetail_tenancy.isolation.scope import tenant
from dovetail_tenancy.isolation.tenant_model import TenantModel
from dovetail_tenancy.organizations.project_models import database_of, get_membership_model, user_model

_number = count(10_001)
_MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


class CannotMake(Exception):
    """A row cannot be created from the model's fields alone."""


def make_rows(organization: Any) -> None:
    """Create one row of each tenant model for the organization. Raises ``CannotMake``."""
    member = get_membership_model()._base_manager.filter(organization=organization.pk).first()
    rows = {} if member is None else {user_model(): member.user}  # type: ignore[attr-defined]  # every membership's
    with tenant(organization):
        for model in _targets_first(model for model in apps.get_models() if issubclass(model, TenantModel)):
            _make(model, rows, database_of(organization))


def _targets_first(unordered: Iterable[type[models.Model]]) -> list[type[models.Model]]:
    waiting, ordered = list(unordered), list[type[models.Model]]()
    while waiting:
        ready = [model for model in waiting if not (_needs(model) & set(waiting) - {model})]
        # Models that require each other are all tried; one of the foreign keys may allow null.
        ordered += ready or waiting
        waiting = [model for model in waiting if ready and model not in ready]
    return ordered


def _needs(model: type[models.Model]) -> set[Any]:
    return {field.related_model for field in model._meta.concrete_fields if field.is_relation and not field.null}


def _make(model: type[models.Model], made: dict[type[models.Model], models.Model], using: str) -> models.Model:
    try:
        values = {field.name: _value(field, made, using) for field in model._meta.concrete_fields if _wanted(field)}
        with transaction.atomic(using=using):
            made[model] = model._base_manager.using(using).create(**values)
    except (CannotMake, Error, TypeError, ValueError) as error:
        raise CannotMake(
            f"{model._meta.label} cannot be made from its fields alone: {error} Give assert_isolated(make=…) a "
            "function that makes an organization's rows."
        ) from error
    return made[model]


def _wanted(field: Any) -> bool:
    if field.name == "organization" or getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return False
    # Creating a child row creates its parent's row.
    if getattr(field.remote_field, "parent_link", False):
        return False
    if field.primary_key:
        return not (field.has_default() or isinstance(field, models.AutoField))
    # Optional texts as well, because they identify the row.
    return not (field.null or field.has_default()) or (isinstance(field, models.CharField) and not field.choices)


def _value(field: Any, made: dict[type[models.Model], models.Model], using: str) -> Any:
    if field.is_relation:
        target = field.related_model
        row = made.get(target) or target._base_manager.using(using).first()
        return row or (None if field.null else _make(target, made, using))
    if field.choices:
        return next(key for key, _ in field.flatchoices if key not in (None, ""))
    number = next(_number)
    for kind, value in _values(field, number):
        if isinstance(field, kind):
            return value
    raise CannotMake(f"What is a value of {field}?")


def _values(field: Any, number: int) -> list[tuple[type[Any], Any]]:
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
        (models.DateTimeField, _MOMENT),
        (models.DateField, _MOMENT.date()),
        (models.TimeField, _MOMENT.time()),
        (models.DurationField, datetime.timedelta(hours=1)),
        (models.JSONField, {}),
        (models.BinaryField, b"isolated"),
        (models.GenericIPAddressField, "192.0.2.1"),
    ]
