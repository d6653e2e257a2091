"""Which version a path belongs to, and which deprecations apply to a path or a view.

A version is the first segment of a path below ``CONTRACT_API_PATHS`` that has the form ``v1`` or ``v1.2``. Paths with
another first segment (``/api/auth/``) have no version. ``CONTRACT_VERSIONS`` declares versions, and
``CONTRACT_DEPRECATIONS`` maps path prefixes to dates and links. A view declares its own deprecation::

    contract = {"deprecated": {"since": "2026-11-01T00:00:00Z", "sunset": "2027-05-01T00:00:00Z", "link": "https://…"}}

``"only": ["PUT", "export"]`` limits it to methods and actions; ``@action(contract=…)`` declares it for one action.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from dovetail_contract.conf import conf, contract_of
from dovetail_contract.lifecycle import NAME, Lifecycle, Version, earliest, lifecycle, parse_versions
from dovetail_core.conf import cached_until_settings_change


# Parsing for every request would cost more than the rest of this module.
@cached_until_settings_change
def versions() -> dict[str, Version]:
    return parse_versions(conf.VERSIONS)


def find_version(path: str) -> tuple[str, str]:
    """Return the path above the version, and the version: ``("/api/", "v1")``. Two empty strings without a version."""
    for base in _bases(tuple(conf.API_PATHS)):
        if path.startswith(base):
            name = path[len(base) :].partition("/")[0]
            if NAME.fullmatch(name):
                return base, name
    return "", ""


@lru_cache(maxsize=8)
def _bases(paths: tuple[str, ...]) -> tuple[str, ...]:
    # With CONTRACT_API_PATHS = ['/api/v1/'], versions are below '/api/'.
    return tuple(re.sub(rf"(?<=/){NAME.pattern}/$", "", path) for path in paths)


def path_lifecycle(path: str) -> Lifecycle | None:
    """Return the lifecycle of the path's version, combined with the longest prefix in ``CONTRACT_DEPRECATIONS``."""
    base, name = find_version(path) if conf.VERSIONS else ("", "")
    version = versions().get(name) if name else None
    matching = [prefix for prefix in conf.DEPRECATIONS if path.startswith(prefix)]
    own = version.lifecycle(base) if version is not None else None
    return earliest([own, lifecycle(conf.DEPRECATIONS[max(matching, key=len)]) if matching else None])


def view_lifecycle(view: object, method: str, action: str = "") -> Lifecycle | None:
    declared = contract_of(view).get("deprecated")
    if not declared or not {method, action}.intersection(declared.get("only", (method,))):
        return None
    return lifecycle({name: value for name, value in declared.items() if name != "only"})


def describe_versions() -> list[dict[str, Any]]:
    """Return the versions for ``info.x-api-versions`` of the OpenAPI document."""
    described = []
    for version in versions().values():
        fields: dict[str, Any] = {"version": version.name, "status": version.status}
        for name in ("released", "deprecated_at", "sunset_at"):
            date = getattr(version, name)
            fields[name] = None if date is None else date.isoformat().replace("+00:00", "Z")
        links = {"successor": version.successor or None, "migration_url": version.migration_url or None}
        described.append({**fields, **links})
    return described
