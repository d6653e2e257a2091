"""The rows of an organization, and the texts that identify them."""

from __future__ import annotations

import html
import json
import uuid
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import models

from dovetail_tenancy.isolation.organization_model import get_organization_model
from dovetail_tenancy.isolation.scope import unscoped
from dovetail_tenancy.isolation.tenant_model import TenantModel
from dovetail_tenancy.organizations.project_models import database_of

#: Shorter texts appear in responses by chance.
SHORTEST = 5
Rows = dict[type[models.Model], dict[Any, dict[str, Any]]]


def owned_models() -> dict[type[models.Model], str]:
    """Return the models whose rows belong to an organization, with the name of the foreign key to it.

    Tenant models and other models that point at it: memberships, and tables that are not tenant models yet.
    """
    owned: dict[type[models.Model], str] = {}
    for model in apps.get_models():
        fields = [field for field in model._meta.concrete_fields if isinstance(field, models.ForeignKey)]
        names = [field.name for field in fields if field.related_model is get_organization_model()]
        if names and not model._meta.proxy:
            owned[model] = "organization" if "organization" in names else names[0]
    return owned


def rows_of(organization: Any) -> Rows:
    """Return all rows of an organization by model and key, with every column, and the organization's own row."""
    using = database_of(organization)
    with unscoped(reason="assert_isolated: a look at the rows"):
        rows: Rows = {
            model: _by_key(model._base_manager.using(using).filter(**{name: organization.pk}))
            for model, name in owned_models().items()
        }
        own = type(organization)
        rows[own] = _by_key(own._base_manager.using(using).filter(pk=organization.pk))
    return rows


def _by_key(queryset: Any) -> dict[Any, dict[str, Any]]:
    return {row["pk"]: row for row in queryset.order_by("pk").values("pk", *_columns(queryset.model))}


def _columns(model: type[models.Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


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


def _mark(field: Any, value: Any) -> str | None:
    if isinstance(value, uuid.UUID):
        return str(value)
    if not isinstance(value, str) or field.choices or field.name == "password":
        return None
    return value if len(value) >= SHORTEST else None


def seen(text: str, body: str) -> bool:
    return any(form in body for form in {text, json.dumps(text)[1:-1], html.escape(text), text.replace("-", "")})


def crossings(mine: Rows, theirs: Rows, using: str) -> Iterator[str]:
    """Describe the rows of one organization that refer to rows of the other."""
    with unscoped(reason="assert_isolated: a look at the references"):
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
    if field.many_to_many:
        through = field.remote_field.through
        ends = {f"{field.m2m_field_name()}__in": sources, f"{field.m2m_reverse_field_name()}__in": targets}
        return bool(through._base_manager.using(using).filter(**ends).exists())
    rows = model._base_manager.using(using).filter(pk__in=sources, **{f"{field.name}__in": targets})
    return rows.exists()


def is_tenant_model(model: type[models.Model]) -> bool:
    return issubclass(model, TenantModel)
