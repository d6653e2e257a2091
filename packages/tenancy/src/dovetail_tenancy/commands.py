from __future__ import annotations

import sys
from pathlib import Path

from dovetail_tenancy.conf import conf
from dovetail_tenancy.isolation.scope import unscoped


def open_unscoped_command() -> None:
    """Show every organization's rows to the rest of this process if it runs one of ``TENANCY_UNSCOPED_COMMANDS``.

    By the command line only: code that calls ``call_command("dumpdata")`` runs for somebody, and says so itself with
    ``with unscoped(reason=…)``.
    """
    program, *arguments = sys.argv or [""]
    if Path(program).name in {"manage.py", "django-admin", "__main__.py"} and arguments[:1]:
        command = arguments[0]
        if command in conf.UNSCOPED_COMMANDS:
            unscoped(reason=f"manage.py {command}").__enter__()
