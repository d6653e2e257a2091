"""What a view says of itself: ``contract = {…}``, a plain dictionary, on its class or with ``@action(contract=…)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEYS = (
    "codes",
    "deprecated",
    "external",
    "filter",
    "idempotency",
    "idempotency_hours",
    "page",
    "query",
    "recover",
    "sort",
    "throttle",
    "total",
)


def contract_of(view: Any) -> Mapping[str, Any]:
    """Of a view instance, a view class, or what ``as_view`` has made of one; empty where it says nothing."""
    own = getattr(view, "initkwargs", None) or {}
    found: Mapping[str, Any] | None = own.get("contract") or getattr(getattr(view, "cls", view), "contract", None)
    return found or {}


def action_of(view: Any, method: str) -> str:
    """The view set's action that answers ``method``; empty for other views."""
    return str((getattr(view, "actions", None) or {}).get(method.lower(), ""))
