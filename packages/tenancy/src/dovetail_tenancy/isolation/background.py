"""The scope of code that runs outside a request: background tasks, sockets and management commands."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404

from dovetail_tenancy.conf import conf
from dovetail_tenancy.isolation.scope import Slot, current_tenant_id, tenant, unscoped


def dump_current_organization() -> str:
    """Return the active organization's key as text for a message. Empty if there is none or all rows are visible."""
    try:
        organization_id = current_tenant_id()
    except (BadRequest, PermissionDenied, Http404):
        # A session request without an organization may enqueue a task that needs none.
        organization_id = None
    return "" if organization_id is None else str(organization_id)


def organization_scope(key: object) -> AbstractContextManager[object]:
    """Return the scope of a task or socket for an organization's key, or an empty scope if the key is empty.

    It replaces the active scope. Raise ``ValueError`` if it is not the key of an organization.
    """
    return tenant(key) if key else Slot()


def unscope_command() -> None:
    """Make all rows visible to the rest of this process if it runs one of ``TENANCY_UNSCOPED_COMMANDS``.

    This applies to the command line only: code that calls ``call_command("dumpdata")`` may run for a user.
    """
    program, command = (*sys.argv, "", "")[:2]
    if Path(program).name in {"manage.py", "django-admin", "__main__.py"} and command in conf.UNSCOPED_COMMANDS:
        unscoped(reason=f"manage.py {command}").__enter__()
