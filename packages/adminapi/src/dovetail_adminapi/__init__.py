"""An admin API that refuses each operation for which no permission is declared."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dovetail_adminapi.api.views import AdminView, AdminViewSet
    from dovetail_adminapi.jobs.registry import admin_job
    from dovetail_adminapi.metrics.registry import Metric

__all__ = ["AdminView", "AdminViewSet", "Metric", "admin_job"]

# Imported at first use, because settings import modules of this package before models can be loaded.
_MODULES = {
    "AdminView": "api.views",
    "AdminViewSet": "api.views",
    "Metric": "metrics.registry",
    "admin_job": "jobs.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
