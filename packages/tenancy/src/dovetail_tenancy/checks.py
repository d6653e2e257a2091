"""System checks of the settings and of the tenant models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's names
from django.db import models

from dovetail_core.conf import conf as core
from dovetail_core.inspection import path_of, routes
from dovetail_tenancy.conf import conf
from dovetail_tenancy.isolation.constraints import SameOrganization
from dovetail_tenancy.isolation.fields import OrganizationForeignKey, TenantForeignKey, TenantModel, organization_column
from dovetail_tenancy.isolation.list_checks import columns_of
from dovetail_tenancy.isolation.querysets import TenantManager, TenantQuerySet
from dovetail_tenancy.isolation.scope import get_organization_model
from dovetail_tenancy.organizations.admin_choice import visible_organizations
from dovetail_tenancy.organizations.membership_checks import check_membership_model

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


def check_admins(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """Name admin classes whose rows belong to another model than the organizations that staff choose."""
    if core.ADMIN_ORGANIZATIONS is not visible_organizations or not apps.is_installed("django.contrib.admin"):
        return
    from dovetail_core.admin import limited_owners

    model = get_organization_model()
    for options, owner in limited_owners():
        if not issubclass(owner, model):
            yield Warning(
                f"{path_of(options)} shows rows that belong to {owner._meta.label}, but staff "
                f"choose an organization of {model._meta.label}. Once they have chosen one, it shows no rows.",
                hint=f"Let the rows belong to {model._meta.label}: a setting such as API_KEYS_ORGANIZATION_MODEL names "
                "the same model as TENANCY_ORGANIZATION_MODEL. Otherwise, register an admin class of your own without "
                "dovetail_core.admin.LimitToOrganizations, which decides what staff may see.",
                obj=options,
                id="dovetail_tenancy.W022",
            )


def _serves_invitations() -> bool:
    # Searched by app_name, because a project may mount the URLs under any path.
    return any("dovetail_tenancy" in route.app_names for route in routes())


def check_models(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    messages = list(check_membership_model())
    for model in apps.get_models():
        if issubclass(model, TenantModel):
            messages += [*_managers(model), *_foreign_keys(model), *_uniqueness(model), *_index(model)]
            messages += _same_organization(model)
    return messages


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


def _same_organization(model: type[models.Model]) -> Iterator[CheckMessage]:
    for constraint in model._meta.constraints:
        if not isinstance(constraint, SameOrganization):
            continue
        local = {field.name: field for field in model._meta.local_fields}
        field: Any = local.get(constraint.field)
        target = field.related_model if isinstance(field, models.ForeignKey) else None
        if "organization" not in local or not isinstance(target, type) or not _owns_organization(target):
            yield Error(
                f"SameOrganization({constraint.field!r}) of {model._meta.label} needs a foreign key between two tables "
                "that both have the organization as a column.",
                hint="Name a TenantForeignKey of this model to another tenant model. Neither may inherit its "
                "organization from a parent table.",
                obj=model,
                id="dovetail_tenancy.E007",
            )
        elif not _is_unique_with_organization(target, field.target_field.name):
            fields, label = [field.target_field.name, "organization"], target._meta.label
            yield Error(
                f"SameOrganization({constraint.field!r}) of {model._meta.label} refers to columns of {label} that are "
                f"not unique together: {', '.join(fields)}.",
                hint=f"Add models.UniqueConstraint(fields={fields}, name=…) to the constraints of {label}.",
                obj=model,
                id="dovetail_tenancy.E008",
            )


def _owns_organization(model: type[models.Model]) -> bool:
    return any(field.name == "organization" for field in model._meta.local_fields)


def _is_unique_with_organization(model: type[models.Model], name: str) -> bool:
    pair = {name, "organization"}
    return any(
        isinstance(constraint, models.UniqueConstraint)
        and set(constraint.fields) == pair
        and constraint.condition is None
        and not constraint.deferrable
        for constraint in model._meta.constraints
    ) or any(set(group) == pair for group in model._meta.unique_together)


def _is_globally_unique(field: models.Field[Any, Any]) -> bool:
    # A foreign key to a tenant model is unique within its organization. A model that is not installed is a string here.
    target = field.related_model
    owned = isinstance(target, type) and organization_column(target) is not None
    return field.unique and not field.primary_key and not owned


def _index(model: type[models.Model]) -> Iterator[CheckMessage]:
    field = organization_column(model)
    if field is None or field.model is not model or field.db_index:
        return
    groups: list[Any] = [*model._meta.unique_together]
    groups += [columns_of(model, index) for index in [*model._meta.constraints, *model._meta.indexes]]
    if not any(group and group[0].removeprefix("-") == "organization" for group in groups):
        yield Warning(
            f"No index of {model._meta.label} begins with the organization: each query scans the rows of every "
            "organization.",
            hint="Keep the db_index of OrganizationForeignKey, or add an index or a constraint that begins with it.",
            obj=model,
            id="dovetail_tenancy.W005",
        )
