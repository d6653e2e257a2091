"""What a member may do: a role is a name for a set of permissions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

OWNER: Final = "owner"

DEFAULT_ROLES: Final[Mapping[str, Sequence[str]]] = {
    OWNER: ("*",),
    "admin": (
        "organization.view",
        "organization.update",
        "members.view",
        "members.invite",
        "members.change_role",
        "members.remove",
    ),
    "member": ("organization.view", "members.view"),
    "billing": ("organization.view", "members.view"),
}


def validate_roles(value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` maps role names to sequences of permissions and has an owner."""
    if not isinstance(value, Mapping) or OWNER not in value:
        raise ValueError(f"must be a mapping of role names to permissions that contains {OWNER!r}")
    for role, permissions in value.items():
        if isinstance(permissions, str) or not all(isinstance(permission, str) for permission in permissions):
            raise ValueError(f"must map {role!r} to a list of permissions such as 'members.invite'")
