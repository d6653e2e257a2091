"""The rules that a project sets: roles with their permissions, limits, and hooks that can refuse a change.

A role is a value in a row and not a choice of the column, so ``TENANCY_ROLES`` may change without a migration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dovetail_tenancy.conf import OWNER, conf, membership_lookups, membership_path
from dovetail_tenancy.exceptions import LimitReached, RoleNotAllowed
from dovetail_tenancy.isolation.scope import organization_key
from dovetail_tenancy.organizations.project_models import get_membership_model, is_person


def rank(role: str) -> int:
    """Return 0 for the highest role, and more for lower ones. An undeclared role ranks below all others."""
    order = list(conf.ROLES)
    return order.index(role) if role in order else len(order)


def role_permits(role: str | None, permission: str) -> bool:
    """Return whether a role grants a permission. ``owner`` grants all of them, undeclared ones too."""
    return role == OWNER or (role is not None and permission in conf.ROLES.get(role, ()))


def role_of(user: object, organization: object, *, using: str | None = None) -> str | None:
    """Return the user's role in the organization (an instance or a key), or None. One query, never cached."""
    if not is_person(user):
        return None
    memberships = get_membership_model()._base_manager.using(using)
    rows = memberships.filter(**membership_lookups(user=user.pk, organization=organization_key(organization)))
    role: str | None = next(iter(rows.values_list(membership_path("role"), flat=True)), None)
    return role


def has_permission(user: object, organization: object, permission: str) -> bool:
    """Return whether the user's role in the organization grants ``permission``, such as ``"members.invite"``.

    ``organization`` is an instance or a key. One query, never cached; no query for a user who cannot sign in.
    """
    return role_permits(role_of(user, organization), permission)


def authorize(actor: object, organization_id: object, permission: str, *affected_roles: str, using: str) -> None:
    """Raise ``RoleNotAllowed`` unless the actor's role has the permission and no affected role ranks above it.

    Call it under the organization's lock: an actor who was demoted since the request began has lost the permission.
    The actor ``None`` is the system (an admin site, a command, a migration) and is always allowed.
    """
    if actor is not None:
        require_permission(role_of(actor, organization_id, using=using), permission, *affected_roles)


def require_permission(actor_role: str | None, permission: str, *affected_roles: str) -> None:
    """Raise ``RoleNotAllowed`` as ``authorize()`` does, for a role that was read under the organization's lock."""
    if actor_role is None or not role_permits(actor_role, permission):
        raise RoleNotAllowed(f"This requires a role with {permission!r}. Your role is {actor_role or 'none'}.")
    for role in affected_roles:
        if rank(role) < rank(actor_role):
            raise RoleNotAllowed(f"The role {role!r} ranks above yours, {actor_role!r}. Ask a member who has it.")


def call_hook(name: str, /, **arguments: Any) -> None:
    """Call the function that ``TENANCY_<name>`` names, if any. An exception from it refuses the change."""
    hook: Callable[..., object] | None = getattr(conf, name)
    if hook is not None:
        hook(**arguments)


def require_below_limit(name: str, count: Callable[[], int], **arguments: Any) -> None:
    """Raise ``LimitReached`` if ``count()`` has reached the limit that ``TENANCY_<name>`` sets.

    ``count`` runs a query, so it is called only if there is a limit. A limit that is a function gets ``arguments``.
    """
    limit: int | Callable[..., int | None] | None = getattr(conf, name)
    allowed = limit(**arguments) if callable(limit) else limit
    if allowed is not None and count() >= allowed:
        raise LimitReached(name.removeprefix("MAX_").replace("_", " ").lower(), allowed)
