"""A sealer in a process of its own: ``sealer.py NAME [SECONDS]`` seals the database NAME.

With seconds, it prints ``holding`` after it has written leaves, and waits before the commit.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import django
from django.conf import settings
from django.db import connection


def main(name: str, seconds: str = "0") -> None:
    settings.DATABASES["default"]["NAME"] = name
    django.setup()
    from dovetail_audit.sealing import checkpoints
    from dovetail_audit.services import seal

    sign = checkpoints.sign

    def hold(**arguments: Any) -> str:
        sys.stdout.write("holding\n")
        sys.stdout.flush()
        time.sleep(float(seconds))
        return sign(**arguments)

    if float(seconds):
        checkpoints.sign = hold
    seal()
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
