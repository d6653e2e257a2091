"""Whether the caller of a request has a permission, and where the permission comes from."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, Final

from dovetail_adminapi.conf import conf
from dovetail_adminapi.permissions.claims import Roles, claims_of, roles_of
from dovetail_core.context import Credential

#: What ``ModelBackend`` stores on a user.
_CACHES: Final = ("_perm_cache", "_user_perm_cache", "_group_perm_cache")


def is_machine(user: object, auth: object) -> bool:
    """Return whether a credential with scopes authenticated the request, or a principal without permissions.

    A personal key is a machine too: it may act as its owner, whose permissions were given to a person.
    """
    return isinstance(auth, Credential) or not hasattr(user, "has_perm")


class Grants:
    """The permissions of a caller, for the operations of one section.

    A permission comes from one of three sources: Django's permissions of the user, groups included; the roles that a
    token claims; or, if ``ADMINAPI_MACHINES`` allows it, the scope ``admin:SECTION`` of an API key.
    """

    def __init__(self, user: Any, auth: Any, section: str) -> None:
        self.user = user
        self.section = section
        self.is_machine = is_machine(user, auth)
        self.has_scope = self.is_machine and _is_admitted(auth, section)
        self.roles = Roles() if self.is_machine else roles_of(claims_of(auth))
        self._checked = user if self.is_machine or conf.SUPERUSERS else _without_bypass(user)

    def via(self, permission: str) -> str | None:
        """Return the source: ``superuser``, ``permission``, ``role:NAME`` or ``scope``. None: it is not granted."""
        if self.is_machine:
            return "scope" if self.has_scope else None
        if not self.user.is_active:
            return None
        if self._checked.has_perm(permission):
            return "superuser" if getattr(self._checked, "is_superuser", False) else "permission"
        return next((f"role:{role}" for role in self.roles.names if permission in conf.ROLES.get(role, ())), None)

    def has_perm(self, permission: str, obj: object = None) -> bool:
        """Answer as ``user.has_perm()`` does, from all sources. A permission for one object is Django's alone."""
        if obj is not None and not self.is_machine:
            return bool(self._checked.has_perm(permission, obj))
        return self.via(permission) is not None

    def principal(self) -> Any:
        """Return the user of the request whose ``has_perm()`` knows all sources, for views that ask it.

        Where Django's permissions are the only source, that is the user itself. Otherwise it is a copy: an
        authentication class may return one object for many requests, and a permission must not outlive its token.
        """
        if self.is_machine:
            return MachinePrincipal(self)
        if not self.roles.names and self._checked is self.user:
            return self.user
        principal = copy.copy(self.user)
        principal.has_perm = self.has_perm
        principal.has_perms = partial(_has_perms, self)
        return principal


class MachinePrincipal:
    """The principal of an API key, with the ``has_perm()`` that views of administrators call."""

    def __init__(self, grants: Grants) -> None:
        self._grants = grants
        self.is_superuser = self.is_staff = False

    def __getattr__(self, name: str) -> Any:
        # Of a copy, which has no attributes yet.
        if name == "_grants":
            raise AttributeError(name)
        return getattr(self._grants.user, name)

    def __str__(self) -> str:
        return str(self._grants.user)

    def has_perm(self, permission: str, obj: object = None) -> bool:
        return self._grants.has_perm(permission, obj)

    def has_perms(self, permissions: list[str], obj: object = None) -> bool:
        return _has_perms(self._grants, permissions, obj)


def has_more(user: Any, caller: Any) -> bool:
    """Return whether a user has a permission of Django that the caller lacks, whatever source the caller has.

    Not a comparison of sets: the caller may have permissions from the roles of a token.
    """
    theirs = user.get_all_permissions() if hasattr(user, "get_all_permissions") else ()
    return not all(caller.has_perm(permission) for permission in theirs)


def _has_perms(grants: Grants, permissions: list[str], obj: object = None) -> bool:
    return all(grants.has_perm(permission, obj) for permission in permissions)


def _is_admitted(auth: Any, section: str) -> bool:
    machines = conf.MACHINES
    if machines is False or not isinstance(auth, Credential):
        return False
    if machines is not True and str(auth.organization_id) not in machines:
        return False
    scopes = auth.scopes
    # A string would contain the scopes that it only begins with.
    return not isinstance(scopes, str) and f"admin:{section}" in (scopes or ())


def _without_bypass(user: Any) -> Any:
    """Return a user whose ``has_perm()`` ignores ``is_superuser``: the same, or a copy that is never saved."""
    if not getattr(user, "is_superuser", False):
        return user
    checked = copy.copy(user)
    checked.is_superuser = False
    for name in _CACHES:
        vars(checked).pop(name, None)
    return checked
