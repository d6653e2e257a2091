"""The default roles with their permissions, and the validator of ``TENANCY_ROLES``. Needs no settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

OWNER: Final = "owner"

#: The permissions that this package's endpoints and services check. A project adds its own: ``"invoices.approve"``.
PERMISSIONS: Final = (
    "organization.view",
    "organization.update",
    "organization.delete",
    "organization.transfer",
    "members.view",
    "members.invite",
    "members.change_role",
    "members.remove",
    "billing.manage",
)

DEFAULT_ROLES: Final[Mapping[str, Sequence[str]]] = {
    OWNER: PERMISSIONS,
    "admin": (
        "organization.view",
        "organization.update",
        "members.view",
        "members.invite",
        "members.change_role",
        "members.remove",
    ),
    "member": ("organization.view", "members.view"),
    "billing": ("organization.view", "members.view", "billing.manage"),
}

_PERMISSION = re.compile(r"[a-z_]+\.[a-z_]+")
# The length of the column AbstractMembership.role.
_LONGEST_ROLE = 50


def validate_roles(value: object) -> None:
    """Raise ``ValueError("must be …")`` if ``value`` is not allowed in ``TENANCY_ROLES``."""
    if not isinstance(value, Mapping) or next(iter(value), None) != OWNER:
        raise ValueError(
            f"must be a dict from roles to their permissions, highest role first, and begin with {OWNER!r}"
        )
    for role, permissions in value.items():
        if not isinstance(role, str) or not 0 < len(role) <= _LONGEST_ROLE:
            raise ValueError(f"must be a dict whose keys are roles of 1 to {_LONGEST_ROLE} characters, not {role!r}")
        if isinstance(permissions, str) or not isinstance(permissions, Sequence | frozenset | set):
            raise ValueError(f"must be a dict whose values are lists of permissions; {role!r} has {permissions!r}")
        for permission in permissions:
            if not isinstance(permission, str) or not _PERMISSION.fullmatch(permission):
                raise ValueError(f"must be a dict of permissions like 'members.invite'; {role!r} has {permission!r}")
