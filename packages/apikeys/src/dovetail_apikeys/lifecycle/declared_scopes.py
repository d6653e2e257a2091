"""The scopes that a key can have: those of ``API_KEYS_SCOPES`` and of :func:`register_scopes`.

Scopes are declared, so that a misspelt scope is an error where it is written, and not a key that opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from dovetail_apikeys.conf import conf
from dovetail_apikeys.restrictions.scope_names import READ, WRITE, validate_names, wildcard

_registered: Final[dict[str, Any]] = {
    READ: _("See the organization's API keys"),
    WRITE: _("Create, change, rotate, revoke and delete the organization's API keys"),
}


def register_scopes(scopes: Mapping[str, str] | None = None, /) -> None:
    """Declare scopes and their descriptions, from an ``AppConfig.ready()``: ``{"invoices:read": "Read invoices"}``.

    Raises ``ValueError`` for a name that is not ``resource:action``. A name that exists gets the new description.
    """
    validate_names(scopes or {})
    _registered.update(scopes or {})


def declared_scopes() -> dict[str, str]:
    """Every scope and its description, wildcards included, sorted by name."""
    plain = {**_registered, **conf.SCOPES}
    wildcards = {wildcard(name): "" for name in plain}
    return {name: str(text) for name, text in sorted((wildcards | plain).items())}


def unknown_scopes(scopes: Iterable[str]) -> list[str]:
    """The scopes of ``scopes`` that are not declared, sorted."""
    return sorted(set(scopes) - declared_scopes().keys())
