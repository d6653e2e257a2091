"""The deprecations that apply to a path or a view.

``CONTRACT_DEPRECATIONS`` maps path prefixes to dates and links. A view declares its own::

    contract = {"deprecated": {"since": "2026-11-01T00:00:00Z", "sunset": "2027-05-01T00:00:00Z", "link": "https://…"}}

``"only": ["PUT", "export"]`` limits it to methods and actions; ``@action(contract=…)`` declares it for one action.
"""

from __future__ import annotations

from typing import Any

from django.http.response import HttpResponseBase

from dovetail_contract.conf import conf, contract_of
from dovetail_contract.lifecycle.dates import Lifecycle, earliest, lifecycle
from dovetail_contract.versioning import versions


def of_path(path: str) -> Lifecycle | None:
    """The lifecycle of the path's version and of the longest matching prefix in ``CONTRACT_DEPRECATIONS``."""
    base, name = versions.named_in(path) if conf.VERSIONS else ("", "")
    version = versions.versions().get(name) if name else None
    matching = [prefix for prefix in conf.DEPRECATIONS if path.startswith(prefix)]
    return earliest(
        [
            version.lifecycle(base) if version is not None else None,
            lifecycle(conf.DEPRECATIONS[max(matching, key=len)]) if matching else None,
        ]
    )


def of_view(view: Any, method: str, action: str = "") -> Lifecycle | None:
    """The lifecycle that a view declares for one of its operations."""
    declared = contract_of(view).get("deprecated")
    if not declared or not {method, action}.intersection(declared.get("only", (method,))):
        return None
    return lifecycle({name: value for name, value in declared.items() if name != "only"})


def add_headers(response: HttpResponseBase, applied: Lifecycle) -> None:
    for name, value in applied.headers().items():
        if name == "Link" and name in response.headers:
            value = f"{response.headers[name]}, {value}"
        response.headers[name] = value
