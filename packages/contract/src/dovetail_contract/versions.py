"""The versions of an API, from ``CONTRACT_VERSIONS``: which there are, since when, until when, and what comes after.

A version is the first part of a path below ``CONTRACT_API_PATHS`` that reads ``v1`` or ``v1.2``; parts that read
otherwise (``/api/auth/``) are of no version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from dovetail_contract.conf import conf
from dovetail_contract.deprecation import Lifecycle, time_of

STATUSES = ("active", "deprecated", "sunset")
# Bounded, as it is repeated in the answer.
_NAME = re.compile(r"v[0-9]{1,9}(?:\.[0-9]{1,9}){0,3}", re.ASCII)
_FIELDS = {"status", "released", "deprecated_at", "sunset_at", "successor", "migration_url"}


@dataclass(frozen=True, slots=True)
class Version:
    """``declared`` is the least that it is: the dates move it on by themselves. Times are in UTC."""

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
        """None while nothing is planned. ``base`` is the path that versions stand below, for the successor's link."""
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


def versions() -> dict[str, Version]:
    """Those that are registered, by name."""
    global _read
    declared = conf.VERSIONS
    if _read[0] is not declared:
        _read = (declared, parse(declared))
    return _read[1]


# Of which setting what was read: reading its times anew for every request would cost more than all else here.
_read: tuple[Any, dict[str, Version]] = (None, {})


def parse(declared: Mapping[str, Mapping[str, Any]]) -> dict[str, Version]:
    """Raises ``ValueError`` that says what is wrong."""
    if not isinstance(declared, Mapping):
        raise ValueError("must map versions to what becomes of them: {'v1': {'status': 'active'}}")
    found = {name: _version(name, fields) for name, fields in declared.items()}
    for version in found.values():
        if version.successor and (version.successor not in found or version.successor == version.name):
            raise ValueError(f"must name another of its versions as the successor of {version.name!r}")
    return found


def _version(name: Any, fields: Any) -> Version:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
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


def named_in(path: str) -> tuple[str, str]:
    """What versions stand below, and the version that a path names: ``("/api/", "v1")``; two empty texts if none."""
    for base in _bases(tuple(conf.API_PATHS)):
        if path.startswith(base):
            name = path[len(base) :].partition("/")[0]
            if _NAME.fullmatch(name):
                return base, name
    return "", ""


@lru_cache(maxsize=8)
def _bases(paths: tuple[str, ...]) -> tuple[str, ...]:
    # A project whose API is all of '/api/v1/' has its versions below '/api/'.
    return tuple(re.sub(rf"(?<=/){_NAME.pattern}/$", "", path) for path in paths)


def described() -> list[dict[str, Any]]:
    """The registry as the document shows it (``info.x-api-versions``)."""

    def text(value: datetime | None) -> str | None:
        return None if value is None else value.isoformat().replace("+00:00", "Z")

    return [
        {
            "version": each.name,
            "status": each.status,
            "released": text(each.released),
            "deprecated_at": text(each.deprecated_at),
            "sunset_at": text(each.sunset_at),
            "successor": each.successor or None,
            "migration_url": each.migration_url or None,
        }
        for each in versions().values()
    ]
