"""For the test suites of projects: the matrix of permissions, and a proof that nothing is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dovetail_adminapi.testing.clients import admin_client, assert_admin_closed
    from dovetail_adminapi.testing.matrix import permission_matrix

__all__ = ["admin_client", "assert_admin_closed", "permission_matrix"]


def __getattr__(name: str) -> Any:
    # Imported at first use, because pytest imports the plugin in this folder before Django's settings are configured.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dovetail_adminapi.testing import clients, matrix

    return getattr(matrix if name == "permission_matrix" else clients, name)
