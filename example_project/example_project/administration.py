"""What administrators do in the admin API with accounts, with the services of identity and tenancy."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from django.db import transaction
from rest_framework.request import Request

from console.organizations import organizations_of as organization_keys_of
from dovetail_adminapi.models import SupportAccess
from dovetail_adminapi.support import authentication
from dovetail_core import context
from dovetail_core.accounts import address_of
from dovetail_identity import services as identity
from dovetail_identity.services import RevocationReason
from dovetail_tenancy import services as tenancy
from dovetail_tenancy import unscoped
from dovetail_tenancy.isolation.scope import organization_key
from dovetail_tenancy.organizations.resolution import OrganizationRequired, resolve_organization


def across_organizations(request: Request | None) -> AbstractContextManager[object]:
    """Show the rows of all organizations to a call of the admin API or, without a request, to a job of it."""
    what = "a job" if request is None else f"{request.method} {request.path} by {request.user.pk}"
    return unscoped(reason=f"admin API: {what}")


@transaction.atomic
def deactivate_user(user: Any, *, actor: Any) -> None:
    """Set the user inactive and end all sessions. Raise ``LastOwner`` if an organization would have no owner."""
    tenancy.deactivate_user(user)
    end_sessions(user, actor=actor)


def activate_user(user: Any, *, actor: Any) -> None:
    with context.bind(principal=actor):
        identity.update_user(user, changes={"is_active": True})


def end_sessions(user: Any, *, actor: Any) -> None:
    # The actor of the event, which is recorded because somebody else ends the sessions.
    with context.bind(principal=actor):
        identity.revoke_all_sessions(user, reason=RevocationReason.REVOKED)


def send_password_reset(user: Any, *, actor: Any) -> None:
    identity.request_password_reset(address_of(user))


def organizations_of(user: Any) -> Iterable[Any]:
    return organization_keys_of(user)


def requested_organization(request: Request) -> Any:
    """Return the organization whose requests for support access the customer answers.

    None for a person without exactly one organization who names none: they answer for their own account.
    """
    try:
        return resolve_organization(request)
    except OrganizationRequired:
        return None


class SupportAccessAuthentication(authentication.SupportAccessAuthentication):
    """Limits a support access to the organization that has approved it, also where a path names another one."""

    def organization_id(self, access: SupportAccess) -> Any:
        return organization_key(access.organization_key) if access.organization_key else None

    def refusal(self, request: Request, credential: authentication.SupportCredential) -> str | None:
        match = request._request.resolver_match
        named = None if match is None else match.kwargs.get("organization_id")
        if named is not None and str(named) != credential.access.organization_key:
            return "support_access_denied"
        return super().refusal(request, credential)
