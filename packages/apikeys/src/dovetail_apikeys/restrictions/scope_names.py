"""Scopes as text: ``resource:action``, and ``resource:*`` for every action of a resource."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]*:[a-z][a-z0-9_.-]*")

#: The scopes that this package's own endpoints require of a key.
READ: Final = "api_keys:read"
WRITE: Final = "api_keys:write"


def validate_names(names: Iterable[object]) -> None:
    """Raise ``ValueError`` for a name that is not ``resource:action``."""
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"must name scopes as 'resource:action' in lower case; {name!r} is none")


def wildcard(name: str) -> str:
    """``invoices:*`` for ``invoices:read``."""
    return f"{name.partition(':')[0]}:*"


def covers(held: Iterable[str], scope: str) -> bool:
    """Whether a holder of the scopes ``held`` has ``scope``."""
    return scope in held or wildcard(scope) in held


def beyond(requested: Iterable[str], held: Iterable[str]) -> list[str]:
    """The scopes of ``requested`` that a holder of ``held`` does not have."""
    return sorted(scope for scope in set(requested) if not covers(held, scope))
