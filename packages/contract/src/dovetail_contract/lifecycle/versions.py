"""One version of an API, and the entries of ``CONTRACT_VERSIONS`` that declare versions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from dovetail_contract.lifecycle.dates import Lifecycle, time_of

STATUSES: Final = ("active", "deprecated", "sunset")
# Bounded, because a 404 repeats the name.
NAME: Final = re.compile(r"v[0-9]{1,9}(?:\.[0-9]{1,9}){0,3}", re.ASCII)
_FIELDS: Final = {"status", "released", "deprecated_at", "sunset_at", "successor", "migration_url"}


@dataclass(frozen=True, slots=True)
class Version:
    """``declared`` is the minimum status; the dates advance it. Times are in UTC."""

    name: str
    declared: str = "active"
    released: datetime | None = None
    deprecated_at: datetime | None = None
    sunset_at: datetime | None = None
    successor: str = ""
    migration_url: str = ""

    @property
    def status(self) -> str:
        """``active``, ``deprecated`` or ``sunset``, at this moment."""
        now = datetime.now(UTC)
        reached = [
            "active",
            *(["deprecated"] if self.deprecated_at is not None and self.deprecated_at <= now else []),
            *(["sunset"] if self.sunset_at is not None and self.sunset_at <= now else []),
        ]
        return max([self.declared, *reached], key=STATUSES.index)

    def lifecycle(self, base: str) -> Lifecycle | None:
        """None without a date of deprecation. ``base`` is the path above versions, for the link to the successor."""
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
    """The versions by name. Raises ``ValueError`` with a message that completes "it …"."""
    if not isinstance(declared, Mapping):
        raise ValueError("must map versions to what becomes of them: {'v1': {'status': 'active'}}")
    versions = {name: _version(name, fields) for name, fields in declared.items()}
    for version in versions.values():
        if version.successor and (version.successor not in versions or version.successor == version.name):
            raise ValueError(f"must name another of its versions as the successor of {version.name!r}")
    return versions


def _version(name: Any, fields: Any) -> Version:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"must name versions as paths do, such as 'v1' or 'v1.2', and not {name!r}")
    if not isinstance(fields, Mapping) or set(fields) - _FIELDS:
        raise ValueError(f"must say of {name!r} nothing but {', '.join(sorted(_FIELDS))}")
    status = fields.get("status", "active")
    if status not in STATUSES:
        raise ValueError(f"must give {name!r} one of the statuses {', '.join(STATUSES)}")
    try:
        released, deprecated, sunset = (time_of(fields.get(at)) for at in ("released", "deprecated_at", "sunset_at"))
    except ValueError as error:
        raise ValueError(f"must be right for {name!r}, which {error}") from error
    if status == "sunset" and sunset is None:
        raise ValueError(f"must say when {name!r} was sunset ('sunset_at')")
    if deprecated is None and (sunset is not None or status == "deprecated"):
        raise ValueError(f"must say since when {name!r} is deprecated ('deprecated_at')")
    for earlier, later, wrong in (
        (released, deprecated, "is deprecated ('deprecated_at') before it is released ('released')"),
        (deprecated, sunset, "ends ('sunset_at') before it is deprecated ('deprecated_at')"),
    ):
        if earlier is not None and later is not None and later < earlier:
            raise ValueError(f"must be right for {name!r}, which {wrong}")
    successor, url = str(fields.get("successor", "")), str(fields.get("migration_url", ""))
    return Version(name, status, released, deprecated, sunset, successor, url)
