"""Feature flags in the project's own database."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dovetail_flags.base import get_flag_model
    from dovetail_flags.evaluation.decorators import FlagRequired, flag_required
    from dovetail_flags.evaluation.facade import flags
    from dovetail_flags.types.context import Context
    from dovetail_flags.types.declaration import Declared, declare
    from dovetail_flags.types.details import Details

__all__ = ["Context", "Declared", "Details", "FlagRequired", "declare", "flag_required", "flags", "get_flag_model"]

# Imported at first use: settings import Declared before apps are ready, and the facade imports models.
_MODULES = {
    "Context": "types.context",
    "Declared": "types.declaration",
    "Details": "types.details",
    "FlagRequired": "evaluation.decorators",
    "declare": "types.declaration",
    "flag_required": "evaluation.decorators",
    "flags": "evaluation.facade",
    "get_flag_model": "base",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
