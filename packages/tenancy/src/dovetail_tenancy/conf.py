from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dovetail_core.conf import AppSettings, ImportSetting, Setting, model_label, sequence_of_strings
from dovetail_tenancy.roles import DEFAULT_ROLES, validate_roles


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
    PAGINATION_CLASS: ImportSetting[Any] = ImportSetting(
        "dovetail_tenancy.api.pagination.CursorPagination", "The paginator of this package's lists."
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
