"""A verification in a process of its own: ``verifier.py NAME`` verifies the database NAME with two workers.

It prints ``verifying`` after the first finding, and waits.
"""

from __future__ import annotations

import sys
import threading

import django
from django.conf import settings


def main(name: str) -> None:
    settings.DATABASES["default"]["NAME"] = name
    django.setup()
    from dovetail_audit.verification import scan

    scan._CHUNK = 5  # type: ignore[misc]  # final
    findings = scan.verify(workers=2)
    next(findings)
    sys.stdout.write("verifying\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
