"""The versions of an API, as ``CONTRACT_VERSIONS`` declares them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from dovetail_contract.lifecycle.dates import Lifecycle, time_of

STATUSES: Final = ("active", "deprecated", "sunset")
# The length is bounded, because a 404 repeats the name.
NAME: Final = re.compile(r"v[0-9]{1,9}(?:\.[0-9]{1,9}){0,3}", re.ASCII)
_FIELDS: Final = {"status", "released", "deprecated_at", "sunset_at", "successor", "migration_url"}


@dataclass(frozen=True, slots=True)
class Version:
    """``declared`` is the earliest possible status, which the dates advance. Times are in UTC."""

    name: str
    declared: str = "active"
    released: datetime | None = None
    deprecated_at: datetime | None = None
    sunset_at: datetime | None = None
    successor: str = ""
    migration_url: str = ""

    @property
    def status(self) -> str:
        """The current status: ``active``, ``deprecated`` or ``sunset``."""
        now = datetime.now(UTC)
        dates = {"deprecated": self.deprecated_at, "sunset": self.sunset_at}
        reached = [status for status, date in dates.items() if date is not None and date <= now]
        return max([self.declared, *reached], key=STATUSES.index)

    def lifecycle(self, base: str) -> Lifecycle | None:
        """Return None without a deprecation date. ``base`` is the path above versions, for the successor's link."""
        if self.deprecated_at is None:
            return None
        links = [("deprecation", self.migration_url), ("sunset", self.migration_url if self.sunset_at else "")]
        links.append(("successor-version", f"{base}{self.successor}/" if self.successor else ""))
        return Lifecycle(
            self.deprecated_at,
            self.sunset_at,
            tuple(link for link in links if link[1]),
            ended=self.declared == "sunset",
        )


def parse(declared: Mapping[str, Mapping[str, Any]]) -> dict[str, Version]:
    """Return the versions by name. Raise ``ValueError`` with a message that completes the sentence "The setting …"."""
    if not isinstance(declared, Mapping):
        raise ValueError("must map versions to their status and dates, such as {'v1': {'status': 'active'}}")
    versions = {name: _version(name, fields) for name, fields in declared.items()}
    for version in versions.values():
        if version.successor and (version.successor not in versions or version.successor == version.name):
            raise ValueError(f"has an error in {version.name!r}: 'successor' is not another declared version")
    return versions


def _version(name: object, fields: object) -> Version:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"must have names such as 'v1' or 'v1.2', not {name!r}")
    if not isinstance(fields, Mapping) or set(fields) - _FIELDS:
        raise ValueError(f"has an error in {name!r}: the allowed keys are {', '.join(sorted(_FIELDS))}")
    try:
        return _validated(name, fields)
    except ValueError as error:
        raise ValueError(f"has an error in {name!r}: {error}") from error


def _validated(name: str, fields: Mapping[str, Any]) -> Version:
    status = fields.get("status", "active")
    if status not in STATUSES:
        raise ValueError(f"'status' must be one of {', '.join(STATUSES)}")
    released, deprecated, sunset = (time_of(fields, key) for key in ("released", "deprecated_at", "sunset_at"))
    if status == "sunset" and sunset is None:
        raise ValueError("the status 'sunset' needs 'sunset_at'")
    if deprecated is None and (sunset is not None or status == "deprecated"):
        raise ValueError("'deprecated_at' is missing")
    if released is not None and deprecated is not None and deprecated < released:
        raise ValueError("'deprecated_at' is before 'released'")
    if deprecated is not None and sunset is not None and sunset < deprecated:
        raise ValueError("'sunset_at' is before 'deprecated_at'")
    successor, url = str(fields.get("successor", "")), str(fields.get("migration_url", ""))
    return Version(name, status, released, deprecated, sunset, successor, url)
