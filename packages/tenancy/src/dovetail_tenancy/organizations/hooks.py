"""The hooks of a project: ``TENANCY_BEFORE_*`` and ``TENANCY_MAX_*``, evaluated before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dovetail_tenancy.conf import conf
from dovetail_tenancy.exceptions import LimitReached


def call_hook(name: str, /, **arguments: Any) -> None:
    """Call the function that ``TENANCY_<name>`` names, if any. An exception from it refuses the change."""
    hook: Callable[..., Any] | None = getattr(conf, name)
    if hook is not None:
        hook(**arguments)


def require_below_limit(name: str, count: Callable[[], int], **arguments: Any) -> None:
    """Raise ``LimitReached`` if ``count()`` has reached the limit that ``TENANCY_<name>`` sets.

    ``count`` runs a query, so it is called only if there is a limit. A limit that is a function gets ``arguments``.
    """
    limit: int | Callable[..., int | None] | None = getattr(conf, name)
    allowed = limit(**arguments) if callable(limit) else limit
    if allowed is not None and count() >= allowed:
        raise LimitReached(name.removeprefix("MAX_").replace("_", " ").lower(), allowed)


def has_limit(name: str) -> bool:
    """Return whether ``TENANCY_<name>`` sets a limit."""
    return getattr(conf, name) is not None
