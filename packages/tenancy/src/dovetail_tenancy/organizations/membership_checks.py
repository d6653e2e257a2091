"""System checks of the membership model, which may be a project's own."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's names
from django.db.models import CharField, Field, ForeignKey, Model, TextField

from dovetail_tenancy.conf import MEMBERSHIP_FIELDS, conf, membership_path
from dovetail_tenancy.isolation.scope import get_organization_model
from dovetail_tenancy.organizations.project_models import concrete_field, get_membership_model, is_membership_alias


def check_membership_model() -> Iterator[CheckMessage]:
    model = get_membership_model()
    fields = {name: concrete_field(model, membership_path(name)) for name in MEMBERSHIP_FIELDS}
    if missing := [f"{membership_path(name)} (the {name})" for name, field in fields.items() if field is None]:
        present = ", ".join(sorted(field.name for field in model._meta.concrete_fields))
        yield Error(
            f"The membership model {model._meta.label} lacks the fields: {', '.join(missing)}. It has: {present}.",
            hint="Inherit from dovetail_tenancy.base.AbstractMembership, add the fields, or set "
            "TENANCY_MEMBERSHIP_FIELDS to their names: {'user': …, 'organization': …, 'role': …}.",
            obj=model,
            id="dovetail_tenancy.E002",
        )
        return
    if taken := [name for name in MEMBERSHIP_FIELDS if not _is_readable(model, name)]:
        yield Error(
            f"TENANCY_MEMBERSHIP_FIELDS gives other names to {', '.join(taken)}, but {model._meta.label} has "
            "attributes with these names.",
            hint="Rename the attributes, because membership.user, membership.organization and membership.role are what "
            "this package, hooks and receivers of events read.",
            obj=model,
            id="dovetail_tenancy.E021",
        )
    if conf.declared()["ROLES"].problem() is None:  # otherwise a check of the settings reports it
        yield from _kinds(model, fields)
        yield from _choices(model, fields["role"])
    yield from _validation(model)


def _is_readable(model: type[Model], name: str) -> bool:
    return membership_path(name) == name or is_membership_alias(model, name)


def _kinds(model: type[Model], fields: dict[str, Field | None]) -> Iterator[CheckMessage]:  # type: ignore[type-arg]
    organization, longest = get_organization_model(), max(conf.ROLES, key=len)
    user, company, role = (fields[name] for name in MEMBERSHIP_FIELDS)
    problems = []
    if not isinstance(user, ForeignKey):
        problems.append(f"{membership_path('user')} is not a foreign key to the user")
    if not isinstance(company, ForeignKey) or company.related_model is not organization:
        problems.append(f"{membership_path('organization')} is not a foreign key to {organization._meta.label}")
    if not isinstance(role, CharField | TextField):
        problems.append(f"{membership_path('role')} is not text")
    elif role.max_length is not None and role.max_length < len(longest):
        problems.append(f"{membership_path('role')} holds {role.max_length} characters, too few for {longest!r}")
    if problems:
        yield Error(
            f"The services cannot write the membership model {model._meta.label}: {'; '.join(problems)}.",
            hint="Change the fields, or set TENANCY_MEMBERSHIP_MODEL to another model. manage.py "
            "tenancy_import_members fills it from this one.",
            obj=model,
            id="dovetail_tenancy.E020",
        )


def _choices(model: type[Model], role: Field | None) -> Iterator[CheckMessage]:  # type: ignore[type-arg]
    choices = [str(value) for value, _label in getattr(role, "flatchoices", ())]
    if choices and set(choices) != set(conf.ROLES):
        yield Warning(
            f"The choices of {role} are {', '.join(choices)}, but the roles of TENANCY_ROLES are "
            f"{', '.join(conf.ROLES)}. Forms and the API refuse a role that is not a choice, and a role that is not in "
            "TENANCY_ROLES has no permission.",
            hint="Declare the same roles in TENANCY_ROLES, highest first and beginning with 'owner', or remove the "
            "choices: TENANCY_ROLES may then change without a migration.",
            obj=model,
            id="dovetail_tenancy.W020",
        )


def _validation(model: type[Model]) -> Iterator[CheckMessage]:
    replaced = conf.BEFORE_ADD_MEMBER is not None and conf.BEFORE_CHANGE_ROLE is not None
    if model.clean is not Model.clean and not replaced:
        yield Warning(
            f"{model._meta.label}.clean() does not run when the services write memberships: the API and invitations "
            "would write rows that it refuses.",
            hint="Enforce its rules in TENANCY_BEFORE_ADD_MEMBER and TENANCY_BEFORE_CHANGE_ROLE, which can refuse a "
            "change by raising dovetail_tenancy.exceptions.Vetoed, or in a constraint of the database.",
            obj=model,
            id="dovetail_tenancy.W021",
        )
