"""Scopes: ``resource:action``, and ``resource:*`` for every action of a resource.

They are declared, by ``API_KEYS_SCOPES`` or :func:`register_scopes`, so that a misspelt one is an error where it is
written and not a key that opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]*:[a-z][a-z0-9_.-]*")

#: What the endpoints of this package ask a key for.
READ: Final = "api_keys:read"
WRITE: Final = "api_keys:write"

_registered: dict[str, Any] = {
    READ: _("See the organization's API keys"),
    WRITE: _("Create, change, rotate, revoke and delete the organization's API keys"),
}


def register_scopes(scopes: Mapping[str, str] | None = None, /) -> None:
    """Declare scopes and what each allows, from an ``AppConfig.ready()``: ``{"invoices:read": "Read invoices"}``.

    Raises ``ValueError`` for a name that does not read ``resource:action``. The same name again takes the new text.
    """
    validate_names(scopes or {})
    _registered.update(scopes or {})


def validate_names(names: Iterable[object]) -> None:
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"must name scopes as 'resource:action' in lower case; {name!r} is none")


def declared_scopes() -> dict[str, str]:
    """Every scope and its description, those with a star included, in the order of their names."""
    from dovetail_apikeys.conf import conf

    plain = {**_registered, **conf.SCOPES}
    stars = {f"{name.partition(':')[0]}:*": "" for name in plain}
    return {name: str(text) for name, text in sorted((stars | plain).items())}


def unknown_scopes(scopes: Iterable[str]) -> list[str]:
    return sorted(set(scopes) - declared_scopes().keys())


def covers(held: Iterable[str], scope: str) -> bool:
    """Whether a holder of ``held`` may do what ``scope`` names."""
    return scope in held or f"{scope.partition(':')[0]}:*" in held


def beyond(asked: Iterable[str], held: Iterable[str]) -> list[str]:
    """Those of ``asked`` that a holder of ``held`` does not have itself."""
    return sorted(scope for scope in set(asked) if not covers(held, scope))
