"""System checks of the settings and of the tenant models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's names
from django.db import models
from django.urls import URLResolver, get_resolver

from dovetail_tenancy.conf import conf
from dovetail_tenancy.isolation.fields import OrganizationForeignKey, TenantForeignKey, TenantModel, organization_column
from dovetail_tenancy.isolation.querysets import TenantManager, TenantQuerySet
from dovetail_tenancy.organizations.project_models import get_membership_model

_USE_TENANT_KEY: Final = (
    "Make it a dovetail_tenancy.models.TenantForeignKey, or a TenantOneToOneField where it is unique. "
    "The database does not change."
)


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    return conf.check()


def check_invitations(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    if conf.INVITATION_SIGNUP is True and conf.TOKEN_ISSUER is None:
        yield Error(
            "TENANCY_INVITATION_SIGNUP is True, but TENANCY_TOKEN_ISSUER, which signs the new account in, is not set.",
            hint="Set TENANCY_TOKEN_ISSUER to the dotted path of a function (user, request=…, amr=…) that returns "
            "{'access': …, 'refresh': …}.",
            id="dovetail_tenancy.E005",
        )
    if not conf.INVITATION_ACCEPT_URL and _serves_invitations():
        yield Error(
            "The URLconf includes the endpoints of invitations, but TENANCY_INVITATION_ACCEPT_URL is not set.",
            hint="Set it to the absolute address of the page of your frontend that accepts invitations, with {token} "
            "in it: 'https://app.example.com/invitations#token={token}'.",
            id="dovetail_tenancy.E006",
        )


def _serves_invitations() -> bool:
    if not getattr(settings, "ROOT_URLCONF", None):
        return False
    # Searched by app_name, because a project may mount the URLs under any path.
    pending: list[Any] = [get_resolver()]
    while pending:
        resolver = pending.pop()
        if resolver.app_name == "dovetail_tenancy":
            return True
        pending += [pattern for pattern in resolver.url_patterns if isinstance(pattern, URLResolver)]
    return False


def check_models(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    messages = list(_membership())
    for model in apps.get_models():
        if issubclass(model, TenantModel):
            messages += [*_managers(model), *_foreign_keys(model), *_uniqueness(model), *_index(model)]
    return messages


def _membership() -> Iterator[CheckMessage]:
    model = get_membership_model()
    missing = {"user", "organization", "role"} - {field.name for field in model._meta.get_fields()}
    if missing:
        yield Error(
            f"The membership model {model._meta.label} lacks the fields: {', '.join(sorted(missing))}.",
            hint="Inherit from dovetail_tenancy.base.AbstractMembership, or add the fields.",
            obj=model,
            id="dovetail_tenancy.E002",
        )


def _managers(model: type[models.Model]) -> Iterator[CheckMessage]:
    for name, manager in (("default", model._default_manager), ("base", model._base_manager)):
        # TenantManager.from_queryset() accepts any queryset class.
        if not isinstance(manager, TenantManager) or not issubclass(manager._queryset_class, TenantQuerySet):
            yield Error(
                f"The {name} manager of the tenant model {model._meta.label} returns every organization's rows.",
                hint="Derive it from dovetail_tenancy.models.TenantManager and its queryset from TenantQuerySet. Keep "
                "Meta.base_manager_name as TenantModel sets it.",
                obj=model,
                id="dovetail_tenancy.E003",
            )


def _foreign_keys(model: type[models.Model]) -> Iterator[CheckMessage]:
    for field in model._meta.local_fields:
        if not isinstance(field, models.ForeignKey) or field.remote_field.parent_link:
            continue
        if isinstance(field, OrganizationForeignKey | TenantForeignKey):
            continue
        if organization_column(field.related_model) is not None:
            yield Error(
                f"{field} is a plain ForeignKey to a tenant model: joins over it can cross organizations.",
                hint=_USE_TENANT_KEY,
                obj=field,
                id="dovetail_tenancy.E004",
            )
        else:
            yield Warning(
                f"{field} is a plain ForeignKey of a tenant model: queries on {field.related_model._meta.label} can "
                f"join every organization's rows, and deleting a {field.related_model._meta.label} raises "
                "TenantRequired.",
                hint=_USE_TENANT_KEY,
                obj=field,
                id="dovetail_tenancy.W002",
            )


def _uniqueness(model: type[models.Model]) -> Iterator[CheckMessage]:
    groups: list[Sequence[str]] = [(field.name,) for field in model._meta.local_fields if _is_globally_unique(field)]
    groups += [tuple(group) for group in model._meta.unique_together]
    groups += [
        constraint.fields
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint) and constraint.fields
    ]
    for group in groups:
        if "organization" not in group:
            yield Warning(
                f"{model._meta.label} is unique over ({', '.join(group)}) across all organizations: the error reveals "
                "values of other organizations.",
                hint="Add 'organization' to the constraint.",
                obj=model,
                id="dovetail_tenancy.W003",
            )


def _is_globally_unique(field: models.Field[Any, Any]) -> bool:
    # A foreign key to a tenant model is unique within its organization. A model that is not installed is a string here.
    target = field.related_model
    owned = isinstance(target, type) and organization_column(target) is not None
    return field.unique and not field.primary_key and not owned


def _index(model: type[models.Model]) -> Iterator[CheckMessage]:
    field = organization_column(model)
    if field is None or field.model is not model or field.db_index:
        return
    groups: list[Any] = [*model._meta.unique_together, *(index.fields for index in model._meta.indexes)]
    groups += [getattr(constraint, "fields", ()) for constraint in model._meta.constraints]
    if not {"organization", "-organization"}.intersection(group[0] for group in groups if group):
        yield Warning(
            f"No index of {model._meta.label} begins with the organization: each query scans the rows of every "
            "organization.",
            hint="Keep the db_index of OrganizationForeignKey, or add an index or a constraint that begins with it.",
            obj=model,
            id="dovetail_tenancy.W005",
        )
