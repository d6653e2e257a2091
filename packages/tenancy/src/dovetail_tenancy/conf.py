"""The settings of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from dovetail_core.conf import (
    AppSettings,
    ImportSetting,
    Setting,
    boolean,
    model_label,
    one_of,
    positive_integer,
    sequence_of_strings,
)
from dovetail_tenancy.organizations.role_table import DEFAULT_ROLES, validate_roles


def _accept_url(value: object) -> None:
    if value == "":
        return
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.netloc or "{token}" not in str(value):
        raise ValueError("must be an absolute http(s) address with {token} in it")


def _callable(value: object) -> None:
    if not callable(value):
        raise ValueError("must be a function or its dotted path")


def _hook(value: object) -> None:
    if value is not None and not callable(value):
        raise ValueError("must be None, a function or its dotted path")


def _limit(value: object) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is not None and not whole and not callable(value):
        raise ValueError(
            "must be None (no limit), a whole number from 0, a function that returns one, or its dotted path"
        )


def _role(value: object) -> None:
    if not isinstance(value, str) or not value or "\0" in value or len(value.encode()) > 63:
        raise ValueError("must be the name of a PostgreSQL role: text of 1 to 63 bytes")


def _before(change: str, arguments: str) -> ImportSetting[Any]:
    return ImportSetting(None, f"Called before {change}, with `{arguments}`; an exception refuses the change.", _hook)


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
    ROLES: Setting[Mapping[str, Sequence[str]]] = Setting(
        DEFAULT_ROLES,
        "The permissions of each role, highest role first. `owner` is required and has every permission.",
        validate_roles,
    )
    INVITATION_ACCEPT_URL = Setting(
        "",
        "The page of your frontend that accepts invitations, with `{token}` in it: "
        "`https://app.example.com/invitations#token={token}`. Required to send invitations.",
        _accept_url,
    )
    INVITATION_EXPIRY_DAYS = Setting(7, "Days until an invitation expires.", positive_integer)
    INVITATION_RETENTION_DAYS = Setting(
        30, "Days after its expiry until `purge_invitations` deletes an invitation.", positive_integer
    )
    INVITATION_SENDER: ImportSetting[Any] = ImportSetting(
        "dovetail_tenancy.mail.send_in_background",
        "Sends an invitation after commit, called with `(invitation, link=…, language=…)`: `send_in_background` by a "
        "thread, `dovetail_tenancy.contrib.celery.send_invitation` by a worker, "
        "`dovetail_tenancy.mail.send_invitation` during the request.",
        _callable,
    )
    INVITATION_SIGNUP = Setting(
        False,
        "Whether accepting an invitation creates an account for an address without one. Needs `TENANCY_TOKEN_ISSUER`.",
        boolean,
    )
    INVITATION_CREATE_USER: ImportSetting[Any] = ImportSetting(
        "dovetail_tenancy.services.accounts.create_user",
        "Creates that account and returns it saved, called with `(email=…, invitation=…)`.",
        _callable,
    )
    TOKEN_ISSUER: ImportSetting[Any] = ImportSetting(
        None,
        "Signs that account in: called with `(user, request=…, amr=…)`, returns `{'access': …, 'refresh': …}`.",
        _hook,
    )
    MAX_MEMBERS: ImportSetting[Any] = ImportSetting(
        None, "The most members of one organization; a function gets `organization=`.", _limit
    )
    MAX_ORGANIZATIONS: ImportSetting[Any] = ImportSetting(
        None, "The most organizations that one person may own when creating another; a function gets `user=`.", _limit
    )
    MAX_PENDING_INVITATIONS: ImportSetting[Any] = ImportSetting(
        None, "The most pending invitations of one organization; a function gets `organization=`.", _limit
    )
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
        "What happens when code accesses tenant rows without an active organization: `'raise'` an error, or `'report'` "
        "to log a warning with the line of code and return every row, while an existing project is being adapted.",
        one_of("raise", "report"),
    )
    BYPASS_ROLE = Setting(
        "tenancy_bypass",
        "PostgreSQL row-level security: the role that sees every organization's rows; `unscoped` switches to it.",
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
