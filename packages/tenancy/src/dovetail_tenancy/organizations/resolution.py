"""The organization that a request is for."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404

from dovetail_tenancy.isolation.organization_model import organization_key
from dovetail_tenancy.organizations.project_models import get_membership_model, is_person

HEADER = "X-Organization-ID"


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
    ``request.membership``. One query; none for a machine.
    Raise ``OrganizationRequired``, ``OrganizationMismatch`` or ``OrganizationNotFound``.
    """
    requested = request.headers.get(HEADER)
    credential = getattr(getattr(request, "auth", None), "organization_id", None)
    if credential is not None:
        if requested is not None and _parse_key(requested) != credential:
            raise OrganizationMismatch
        if not is_person(request.user):
            return credential
        # A key that acts for its creator must not outlive the creator's membership.
        requested = credential
    membership = _find_membership(request.user, requested)
    # On Django's request, from which DRF's request reads the attributes that it lacks.
    getattr(request, "_request", request).membership = membership
    return membership.organization_id


def _find_membership(user: object, requested: object) -> Any:
    memberships = get_membership_model()._default_manager.filter(user=user)
    if requested is not None:
        membership = memberships.filter(organization=_parse_key(requested)).first()
        if membership is None:
            raise OrganizationNotFound
        return membership
    candidates = list(memberships.order_by("pk")[:2])
    if len(candidates) != 1:
        raise OrganizationRequired
    return candidates[0]


def _parse_key(requested: object) -> Any:
    try:
        return organization_key(requested)
    except ValueError as error:
        raise OrganizationNotFound from error
