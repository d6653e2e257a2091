"""Verify the whole log in the background, and record the result."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from contextvars import copy_context
from typing import Any
from uuid import UUID

from django.db import connections

from dovetail_audit.conf import conf
from dovetail_audit.entries import databases
from dovetail_audit.events import AUDIT_TAMPERING_FOUND, AUDIT_VERIFIED
from dovetail_audit.verification.findings import TAMPERING, Kind, exit_status
from dovetail_audit.verification.scan import verify
from dovetail_core.events import emit

logger = logging.getLogger("dovetail.audit")

_RESULTS = {0: "intact", 1: "tampered", 2: "not verifiable", 3: "not sealed"}
_running = threading.Lock()


class VerificationRunning(Exception):
    """This process is verifying the log already. A second pass would only read the same rows."""

    code = "verification_running"


def start_verification(*, actor: Any = None) -> None:
    """Start a verification with ``AUDIT_RUNNER``. Its result is the entry ``audit.verified``."""
    conf.RUNNER(None if actor is None else str(getattr(actor, "pk", actor)))


def run_verification(*, actor: Any = None, using: str | None = None) -> str:
    """Verify the whole log, record ``audit.verified``, and return ``intact``, ``tampered``, ``not verifiable`` or
    ``not sealed``. Emit ``audit.tampering_found`` too, if something was tampered with."""
    using = using or databases.home()
    counts: Counter[Kind] = Counter()
    first: UUID | None = None
    for finding in verify(using=using):
        counts[finding.kind] += 1
        first = first or (finding.entry if finding.kind in TAMPERING else None)
    result = _RESULTS[exit_status(counts)]
    kinds = {str(kind): number for kind, number in sorted(counts.items())}
    emit(AUDIT_VERIFIED, actor=actor, data={"result": result, "kinds": kinds}, using=using)
    if result == "tampered":
        report_tampering(counts, first, using=using)
    return result


def report_tampering(counts: Counter[Kind], first: UUID | None, *, using: str) -> None:
    """Emit ``audit.tampering_found``, for the people who must know."""
    kinds = {str(kind): number for kind, number in counts.items() if kind in TAMPERING}
    emit(AUDIT_TAMPERING_FOUND, data={"kinds": kinds, "first": None if first is None else str(first)}, using=using)


def immediate(actor: str | None) -> None:
    """An ``AUDIT_RUNNER`` that verifies before the response, for tests and small logs."""
    run_verification(actor=actor)


def in_background(actor: str | None) -> None:
    """An ``AUDIT_RUNNER`` that verifies in a thread of this process, one at a time."""
    if not _running.acquire(blocking=False):
        raise VerificationRunning("A verification is running already. Its result will be the entry audit.verified.")

    def work() -> None:
        try:
            run_verification(actor=actor)
        except Exception:
            logger.exception("The verification of the audit log failed.")
        finally:
            _running.release()
            connections.close_all()

    threading.Thread(target=copy_context().run, args=(work,), name="audit-verification", daemon=True).start()
