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
    return ImportSetting(None, f"Called before {change}, with `{arguments}`; what it raises refuses.", _hook)


class TenancySettings(AppSettings, prefix="TENANCY_", app_label="dovetail_tenancy"):
    ORGANIZATION_MODEL = Setting(
        "dovetail_tenancy.Organization",
        "The model whose rows are the tenants: ours, a subclass of `AbstractOrganization`, or any model you have.",
        model_label,
    )
    MEMBERSHIP_MODEL = Setting(
        "dovetail_tenancy.Membership",
        "The model with `user`, `organization` and `role` that says who belongs where.",
        model_label,
    )
    ROLES: Setting[Mapping[str, Sequence[str]]] = Setting(
        DEFAULT_ROLES,
        "Permissions of each role, highest role first; `owner` must be there and has every permission.",
        validate_roles,
    )
    INVITATION_ACCEPT_URL = Setting(
        "",
        "The page of your frontend that accepts invitations, with `{token}` in it: "
        "`https://app.example.com/invitations#token={token}`. Needed to invite.",
        _accept_url,
    )
    INVITATION_EXPIRY_DAYS = Setting(7, "Days until an invitation expires.", positive_integer)
    INVITATION_RETENTION_DAYS = Setting(
        30, "Days after its term until `purge_invitations` deletes an invitation.", positive_integer
    )
    INVITATION_SENDER: ImportSetting[Any] = ImportSetting(
        "dovetail_tenancy.mail.send_invitation",
        "What sends an invitation after commit: `(invitation, link=…, language=…)`.",
        _callable,
    )
    INVITATION_SIGNUP = Setting(
        False, "Whether who is invited and has no account gets one by accepting. Needs `TENANCY_TOKEN_ISSUER`.", boolean
    )
    INVITATION_CREATE_USER: ImportSetting[Any] = ImportSetting(
        "dovetail_tenancy.services.accounts.create_user",
        "What creates that account: `(email=…, invitation=…)`, returns it saved.",
        _callable,
    )
    TOKEN_ISSUER: ImportSetting[Any] = ImportSetting(
        None,
        "What signs it in: `(user, request=…, amr=…)`, returns `{'access': …, 'refresh': …}`.",
        _hook,
    )
    MAX_MEMBERS: ImportSetting[Any] = ImportSetting(
        None, "Members of one organization at most; a function gets `organization=`.", _limit
    )
    MAX_ORGANIZATIONS: ImportSetting[Any] = ImportSetting(
        None, "Organizations that one person owns and may create at most; a function gets `user=`.", _limit
    )
    MAX_PENDING_INVITATIONS: ImportSetting[Any] = ImportSetting(
        None, "Pending invitations of one organization at most; a function gets `organization=`.", _limit
    )
    BEFORE_CREATE_ORGANIZATION = _before("an organization is created", "name, owner")
    BEFORE_DELETE_ORGANIZATION = _before("an organization is deleted", "organization, actor")
    BEFORE_ADD_MEMBER = _before("a member is added", "organization, user, role, actor")
    BEFORE_CHANGE_ROLE = _before("a role is changed", "membership, role, actor")
    BEFORE_REMOVE_MEMBER = _before("a member is removed or leaves", "membership, actor")
    BEFORE_INVITE = _before("an address is invited", "organization, email, role, actor")
    BEFORE_ACCEPT_INVITATION = _before("an invitation is accepted", "invitation, user")
    PAGINATION_CLASS: ImportSetting[Any] = ImportSetting(
        "dovetail_tenancy.api.pagination.CursorPagination", "The paginator of this package's lists."
    )
    ENFORCEMENT = Setting(
        "raise",
        "What code gets that touches tenant rows with no organization active: `'raise'` an error; `'report'`, while a "
        "living project is being adapted, every row, and a warning in the log with the place.",
        one_of("raise", "report"),
    )
    BYPASS_ROLE = Setting(
        "tenancy_bypass",
        "PostgreSQL row security: the role that sees every organization's rows, which `unscoped` takes on.",
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
