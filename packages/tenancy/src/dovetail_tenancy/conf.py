"""The settings of this package, and the default roles. Settings modules may import it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dovetail_core.conf import (
    AppSettings,
    ImportSetting,
    Setting,
    boolean,
    callable_object,
    limits,
    model_label,
    one_of,
    optional,
    optional_callable,
    positive_integer,
    sequence_of_strings,
    token_address,
)

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
    if not isinstance(value, Mapping) or next(iter(value), None) != OWNER:
        raise ValueError(f"must be a dict of roles and their permissions, highest role first, beginning with {OWNER!r}")
    for role, permissions in value.items():
        if not isinstance(role, str) or not 0 < len(role) <= _LONGEST_ROLE:
            raise ValueError(f"must be a dict whose keys are roles of 1 to {_LONGEST_ROLE} characters, not {role!r}")
        if isinstance(permissions, str) or not isinstance(permissions, Sequence | frozenset | set):
            raise ValueError(f"must be a dict whose values are lists of permissions; {role!r} has {permissions!r}")
        for permission in permissions:
            if not isinstance(permission, str) or not _PERMISSION.fullmatch(permission):
                raise ValueError(f"must be a dict of permissions like 'members.invite'; {role!r} has {permission!r}")


MEMBERSHIP_FIELDS: Final = ("user", "organization", "role")


def _membership_fields(value: object) -> None:
    allowed = ", ".join(map(repr, MEMBERSHIP_FIELDS))
    if not isinstance(value, Mapping) or not value.keys() <= set(MEMBERSHIP_FIELDS):
        raise ValueError(f"must be a dict with some of the keys {allowed}")
    if not all(isinstance(name, str) and name.isidentifier() for name in value.values()):
        raise ValueError("must be a dict whose values are names of fields of the membership model")


def membership_path(path: str) -> str:
    """Translate a lookup path such as ``user__is_active`` or ``user_id`` to the names of ``TENANCY_MEMBERSHIP_FIELDS``.

    The keys of the setting are the names in this package, its values are those of the project's membership model.
    """
    name, separator, rest = path.partition("__")
    column = "_id" if name.endswith("_id") else ""
    name = name.removesuffix("_id")
    names: object = conf.MEMBERSHIP_FIELDS
    # Another type is reported by a check, which must be able to run.
    name = names.get(name, name) if isinstance(names, Mapping) else name
    return f"{name}{column}{separator}{rest}"


def membership_lookups(**lookups: Any) -> dict[str, Any]:
    """Return arguments for ``filter()`` or for a new membership, with the names of ``TENANCY_MEMBERSHIP_FIELDS``."""
    return {membership_path(path): value for path, value in lookups.items()}


def _limit(value: object) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is not None and not whole and not callable(value):
        raise ValueError("must be None, a whole number of at least 0, a function that returns one, or its dotted path")


def _role(value: object) -> None:
    if not isinstance(value, str) or not value or "\0" in value or len(value.encode()) > 63:
        raise ValueError("must be the name of a PostgreSQL role: text of 1 to 63 bytes")


def _maximum(rows: str, argument: str) -> ImportSetting[Any]:
    return ImportSetting(None, f"The maximum number of {rows}. A function gets `{argument}=`.", _limit)


def _before(change: str, arguments: str) -> ImportSetting[Any]:
    meaning = f"Called before {change}, with `{arguments}`. An exception refuses the change."
    return ImportSetting(None, meaning, optional_callable)


class TenancySettings(AppSettings, prefix="TENANCY_", app_label="dovetail_tenancy"):
    ORGANIZATION_MODEL = Setting(
        "dovetail_tenancy.Organization",
        "The model whose rows are the tenants: ours, a subclass of `AbstractOrganization`, or any model you have.",
        model_label,
    )
    MEMBERSHIP_MODEL = Setting(
        "dovetail_tenancy.Membership",
        "The model of memberships, with `user`, `organization` and `role`.",
        model_label,
    )
    MEMBERSHIP_FIELDS: Setting[Mapping[str, str]] = Setting(
        {},
        "The fields of your membership model with other names than `user`, `organization` and `role`: "
        "`{'user': 'person', 'organization': 'company', 'role': 'level'}`.",
        _membership_fields,
    )
    ROLES: Setting[Mapping[str, Sequence[str]]] = Setting(
        DEFAULT_ROLES,
        "The permissions of each role, highest role first. `owner` is required and has every permission.",
        validate_roles,
    )
    INVITATION_ACCEPT_URL = Setting(
        "",
        "The page of your frontend that accepts invitations, with `{token}` in it: "
        "`https://app.example.com/invitations#token={token}`. Required to send invitations.",
        token_address,
    )
    INVITATION_EXPIRY_DAYS = Setting(7, "Days until an invitation expires.", positive_integer)
    INVITATION_FAILURES_PER_NETWORK: Setting[Sequence[tuple[int, int]]] = Setting(
        ((30, 900), (300, 86400)),
        "Wrong invitation tokens from one address (IPv6: /64), as pairs of a number and a period in seconds.",
        limits,
    )
    INVITATION_RETENTION_DAYS = Setting(
        30, "Days after its expiry until `purge_invitations` deletes an invitation.", positive_integer
    )
    INVITATION_SENDER: ImportSetting[Any] = ImportSetting(
        "dovetail_tenancy.mail.send_in_background",
        "Sends an invitation after commit, called with `(invitation, link=…, language=…)`: `send_in_background` by a "
        "thread, `dovetail_tenancy.contrib.celery.send_invitation` by a worker, "
        "`dovetail_tenancy.mail.send_invitation` during the request.",
        callable_object,
    )
    INVITATION_SIGNUP = Setting(
        False,
        "Whether accepting an invitation creates a missing account. Requires `TENANCY_TOKEN_ISSUER`.",
        boolean,
    )
    INVITATION_CREATE_USER: ImportSetting[Any] = ImportSetting(
        "dovetail_tenancy.services.accounts.create_user",
        "Creates this account and returns it saved. Called with `(email=…, invitation=…)`.",
        callable_object,
    )
    TOKEN_ISSUER: ImportSetting[Any] = ImportSetting(
        None,
        "Signs this account in. Called with `(user, request=…, amr=…)`, returns `{'access': …, 'refresh': …}`.",
        optional_callable,
    )
    ORGANIZATION_CREATION: Setting[bool | None] = Setting(
        None,
        "Whether people may create organizations by `POST /organizations/`. `None`: only if the organization model is "
        "ours or a subclass of `AbstractOrganization`.",
        optional(boolean),
    )
    MAX_MEMBERS = _maximum("members of an organization", "organization")
    MAX_ORGANIZATIONS = _maximum("organizations that a person may own", "user")
    MAX_PENDING_INVITATIONS = _maximum("pending invitations of an organization", "organization")
    BEFORE_CREATE_ORGANIZATION = _before("an organization is created", "name, owner")
    BEFORE_DELETE_ORGANIZATION = _before("an organization is deleted", "organization, actor")
    BEFORE_ADD_MEMBER = _before("a member is added", "organization, user, role, actor")
    BEFORE_CHANGE_ROLE = _before("a role is changed", "membership, role, actor")
    BEFORE_REMOVE_MEMBER = _before("a member is removed or leaves", "membership, actor")
    BEFORE_INVITE = _before("an address is invited", "organization, email, role, actor")
    BEFORE_ACCEPT_INVITATION = _before("an invitation is accepted", "invitation, user")
    PAGINATION_CLASS: ImportSetting[Any] = ImportSetting(
        "dovetail_core.rest.pagination.KeysetPagination", "The paginator of this package's lists."
    )
    ENFORCEMENT = Setting(
        "raise",
        "How to handle access to tenant rows without an active organization. `'raise'` raises an error. `'report'` "
        "logs a warning with the line of code and returns all rows, so that you can adapt an existing project.",
        one_of("raise", "report"),
    )
    BYPASS_ROLE = Setting(
        "tenancy_bypass",
        "The PostgreSQL role that row-level security shows every organization's rows. `unscoped` switches to it.",
        _role,
    )
    UNSCOPED_COMMANDS = Setting(
        ("dumpdata", "loaddata", "migrate", "flush", "remove_stale_contenttypes"),
        "Management commands that see every organization's rows when run from the command line.",
        sequence_of_strings,
    )
    UNSCOPED_NAMESPACES = Setting(
        ("admin",),
        "URL namespaces whose views see every organization's rows when a staff user is signed in.",
        sequence_of_strings,
    )


conf = TenancySettings()
