"""Scopes: ``resource:action``, or ``resource:*`` for every action of a resource.

The scopes that a key can have are declared in ``API_KEYS_SCOPES`` or by :func:`register_scopes`. A misspelt scope is
therefore an error where it is written, and not a key that grants nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from dovetail_apikeys.conf import conf, validate_scope_names

#: The scopes that this package's own endpoints require of a key.
READ: Final = "api_keys:read"
WRITE: Final = "api_keys:write"

_registered: Final[dict[str, Any]] = {
    READ: _("View the organization's API keys"),
    WRITE: _("Create, change, rotate, revoke and delete the organization's API keys"),
}


def register_scopes(scopes: Mapping[str, str] | None = None, /) -> None:
    """Declare scopes and their descriptions, from an ``AppConfig.ready()``: ``{"invoices:read": "Read invoices"}``.

    A scope that is already registered gets the new description. Raise ``ValueError`` for a name that is not
    ``resource:action``.
    """
    validate_scope_names(scopes or {})
    _registered.update(scopes or {})


def declared_scopes() -> dict[str, str]:
    """Return every scope and its description, wildcards included, sorted by name."""
    declared = {**_registered, **conf.SCOPES}
    wildcards = {_wildcard(name): "" for name in declared}
    return {name: str(text) for name, text in sorted((wildcards | declared).items())}


def unknown_scopes(scopes: Iterable[str]) -> list[str]:
    return sorted(set(scopes) - declared_scopes().keys())


def covers(held: Iterable[str], scope: str) -> bool:
    """Return whether a key with the scopes ``held`` has ``scope``, directly or by a wildcard."""
    return scope in held or _wildcard(scope) in held


def beyond(requested: Iterable[str], held: Iterable[str]) -> list[str]:
    """Return the scopes of ``requested`` that a key with the scopes ``held`` does not have, sorted."""
    return sorted(scope for scope in set(requested) if not covers(held, scope))


def _wildcard(name: str) -> str:
    return f"{name.partition(':')[0]}:*"
