"""What a project may refuse: ``TENANCY_BEFORE_*`` and ``TENANCY_MAX_*``, asked before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dovetail_tenancy.conf import conf
from dovetail_tenancy.exceptions import LimitReached


def ask(hook_name: str, /, **about: Any) -> None:
    """Call the hook that ``TENANCY_<hook_name>`` names, if any. What it raises refuses the change."""
    hook: Callable[..., Any] | None = getattr(conf, hook_name)
    if hook is not None:
        hook(**about)


def require_room(name: str, count: Callable[[], int], **about: Any) -> None:
    """Raise ``LimitReached`` where there are as many already as ``TENANCY_<name>`` allows; ``count`` is a query."""
    limit: int | Callable[..., int | None] | None = getattr(conf, name)
    allowed = limit(**about) if callable(limit) else limit
    if allowed is not None and count() >= allowed:
        raise LimitReached(name.removeprefix("MAX_").replace("_", " ").lower(), allowed)


def limited(name: str) -> bool:
    return getattr(conf, name) is not None
