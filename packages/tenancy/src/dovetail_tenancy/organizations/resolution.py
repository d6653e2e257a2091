"""The organization that a request is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import router
from django.db.models import Field, ForeignKey, Model, QuerySet
from django.http import Http404

from dovetail_core.sql import CompiledQuery, Placeholder, is_plain, once
from dovetail_tenancy.conf import membership_lookups, membership_path
from dovetail_tenancy.isolation.scope import organization_key
from dovetail_tenancy.organizations.project_models import concrete_field, get_membership_model, is_person, user_model

HEADER = "X-Organization-ID"
_KNOWN: Final = "_dovetail_membership"


class OrganizationRequired(BadRequest):
    """The request names no organization, and the user is not a member of exactly one."""

    code = "organization_required"

    def __init__(self) -> None:
        super().__init__(f"Name the organization in the {HEADER} header: you are not a member of exactly one.")


class OrganizationMismatch(PermissionDenied):
    """The request's header names another organization than its credential."""

    code = "organization_mismatch"

    def __init__(self) -> None:
        super().__init__(f"The {HEADER} header names another organization than the credential belongs to.")


class OrganizationNotFound(Http404):
    """The organization does not exist or the caller is not a member of it. The caller cannot distinguish the two."""


def resolve_organization(request: Any) -> Any:
    """Return the key of the organization that ``request`` (Django's, DRF's or a socket's handshake) is for.

    It comes from the credential if that names one, else from ``X-Organization-ID``, else from the user's only
    membership. A person must be a member of it, even with a credential, and the membership is stored as
    ``request.membership``. One query for each request, however often it is called; none for a machine.
    Raise ``OrganizationRequired``, ``OrganizationMismatch`` or ``OrganizationNotFound``.
    """
    requested = requested_key(request)
    credential = getattr(getattr(request, "auth", None), "organization_id", None)
    if credential is not None:
        if requested is not None and _parse_key(requested) != credential:
            raise OrganizationMismatch
        if not is_person(request.user):
            return credential
        # A key that acts for its creator must not outlive the creator's membership.
        requested = credential
    # On Django's request, from which DRF's request reads the attributes that it lacks.
    plain = getattr(request, "_request", request)
    plain.membership = membership = _membership_of(plain, request.user, requested)
    return membership.organization_id


def requested_key(request: Any) -> str | None:
    """Return the value of ``X-Organization-ID``, and let ``TenantMiddleware`` add the header to ``Vary``."""
    getattr(request, "_request", request).organization_header_read = True
    value: str | None = request.headers.get(HEADER)
    return value


def _membership_of(request: Any, user: object, requested: object) -> Any:
    if not is_person(user):
        # A machine without an organization: a user's API key that does not act for the user.
        raise OrganizationRequired if requested is None else OrganizationNotFound
    # Not request.membership, which the project may assign. The user may change: DRF authenticates after a session.
    question = user.pk, requested
    known: tuple[object, Any] = getattr(request, _KNOWN, (None, None))
    if known[0] != question:
        known = question, _find_membership(user, requested)
        setattr(request, _KNOWN, known)
    return known[1]


def _find_membership(user: Model, requested: object) -> Any:
    model = get_membership_model()
    values: dict[str, Any] = {"user": user}
    if requested is not None:
        values["organization"] = _parse_key(requested)
    query = once(_compile, model, *values, using=router.db_for_read(model))
    rows = list(_candidates(model, values)) if query is None else query.instances({**values, "user": user.pk})
    if requested is not None and not rows:
        raise OrganizationNotFound
    if len(rows) != 1:
        raise OrganizationRequired
    return rows[0]


def _candidates(model: type[Model], values: Mapping[str, Any]) -> QuerySet[Any]:
    """Return the membership of an organization, or two of any organizations."""
    rows: QuerySet[Any] = model._default_manager.filter(**membership_lookups(**values))
    # Not the order of Meta, which may call a function of the project, and the compiled query names all its tables.
    return rows.order_by("pk")[: 1 if "organization" in values else 2]


def _compile(model: type[Model], *names_and_alias: str) -> CompiledQuery | None:
    """Compile the query for a membership, or return None if the ORM must build it each time."""
    *names, using = names_and_alias
    fields = {name: concrete_field(model, membership_path(name)) for name in names}
    # A project's own manager may select other memberships for each request.
    if not is_plain(model._default_manager) or not all(_refers_to_key(field) for field in fields.values()):
        return None
    if not issubclass(get_user_model(), user_model()):
        return None  # the ORM raises an error
    places = {name: Placeholder(name, field) for name, field in fields.items() if field is not None}
    return CompiledQuery(_candidates(model, places).using(using), using=using, reads=[model])


def _refers_to_key(field: Field[Any, Any] | None) -> bool:
    return isinstance(field, ForeignKey) and field.target_field.primary_key


def _parse_key(requested: object) -> Any:
    try:
        return organization_key(requested)
    except ValueError as error:
        raise OrganizationNotFound from error
