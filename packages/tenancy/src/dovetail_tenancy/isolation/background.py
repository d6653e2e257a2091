"""What background work inherits from who enqueues it: one organization's key, as text, or nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404

from dovetail_tenancy.isolation.scope import Slot, current_tenant_id, tenant


def organization_to_carry() -> str:
    """The active organization's key as text; empty where there is none, or all are visible."""
    try:
        organization_id = current_tenant_id()
    except (BadRequest, PermissionDenied, Http404):
        # A session request that is for no organization may enqueue work that needs none.
        organization_id = None
    return "" if organization_id is None else str(organization_id)


def organization_scope(carried: Any) -> AbstractContextManager[Any]:
    """The scope of work that carries this: that organization, or none, never what happens to be active here.

    Raises ``ValueError`` for what is no key of an organization.
    """
    return tenant(carried) if carried else Slot()
