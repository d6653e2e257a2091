"""An append-only, tamper-evident record of who did what."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dovetail_audit.entries.diffs import diff
    from dovetail_audit.entries.tracking import track
    from dovetail_audit.middleware import AuditMiddleware
    from dovetail_audit.services import attempt, record

__all__ = ["AuditMiddleware", "attempt", "diff", "record", "track"]

_MODULES = {
    "AuditMiddleware": "dovetail_audit.middleware",
    "attempt": "dovetail_audit.services",
    "diff": "dovetail_audit.entries.diffs",
    "record": "dovetail_audit.services",
    "track": "dovetail_audit.entries.tracking",
}


def __getattr__(name: str) -> Any:
    # Late, because settings and INSTALLED_APPS import this module before models can be loaded.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
