"""Test helpers for projects that use this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dovetail_flags.testing.overrides import assert_flags_used, override_flags

__all__ = ["assert_flags_used", "override_flags"]


def __getattr__(name: str) -> Any:
    # Imported at first use, because pytest imports the plugin in this folder before Django's settings are configured.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dovetail_flags.testing import overrides

    return getattr(overrides, name)
