"""The dates at which operations and versions are deprecated and removed.

Responses have them in ``Deprecation`` (RFC 9745), ``Sunset`` (RFC 8594) and ``Link`` headers. Nothing here reads
settings, because ``conf`` validates settings with this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.utils.dateparse import parse_datetime
from django.utils.http import http_date

STATUSES: Final = ("active", "deprecated", "sunset")
# The length is bounded, because a 404 repeats the name.
NAME: Final = re.compile(r"v[0-9]{1,9}(?:\.[0-9]{1,9}){0,3}", re.ASCII)
_FIELDS: Final = {"status", "released", "deprecated_at", "sunset_at", "successor", "migration_url"}


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """``since`` may be in the future; ``links`` are pairs of relation and URL; ``ended`` overrides the dates."""

    since: datetime
    sunset: datetime | None = None
    links: tuple[tuple[str, str], ...] = ()
    ended: bool = False

    @property
    def has_begun(self) -> bool:
        return self.since <= datetime.now(UTC)

    @property
    def is_over(self) -> bool:
        return self.ended or (self.sunset is not None and self.sunset <= datetime.now(UTC))

    @property
    def successor(self) -> str:
        return next((url for relation, url in self.links if relation == "successor-version"), "")

    def headers(self) -> dict[str, str]:
        headers = {"Deprecation": f"@{int(self.since.timestamp())}"}
        if self.sunset is not None:
            headers["Sunset"] = http_date(self.sunset.timestamp())
        if self.links:
            headers["Link"] = ", ".join(f'<{url}>; rel="{relation}"' for relation, url in self.links)
        return headers


def lifecycle(declared: Mapping[str, Any]) -> Lifecycle:
    """Return the lifecycle of a dictionary with ``since`` and optionally ``sunset``, ``link`` and ``successor``.

    Raise ``ValueError`` for a dictionary with other keys, or with times that are invalid or in the wrong order.
    """
    if unknown := set(declared) - {"since", "sunset", "link", "successor"}:
        raise ValueError(f"unknown keys: {', '.join(sorted(unknown))} (allowed: since, sunset, link, successor)")
    since, sunset = (time_of(declared, name) for name in ("since", "sunset"))
    if since is None:
        raise ValueError("'since' is missing")
    if sunset is not None and sunset < since:
        raise ValueError("'sunset' is before 'since'")
    return Lifecycle(since, sunset, _links(sunset, str(declared.get("link", "")), str(declared.get("successor", ""))))


def _links(sunset: datetime | None, link: str, successor: str) -> tuple[tuple[str, str], ...]:
    links = (("deprecation", link), ("sunset", link if sunset else ""), ("successor-version", successor))
    return tuple(pair for pair in links if pair[1])


def time_of(declared: Mapping[str, Any], name: str) -> datetime | None:
    """Return a member in UTC, or None if it is missing. Raise ``ValueError`` unless it is a time with a time zone."""
    value = declared.get(name)
    if value is None:
        return None
    parsed = parse_datetime(value) if isinstance(value, str) else value
    if not isinstance(parsed, datetime) or parsed.tzinfo is None:
        raise ValueError(f"{name!r} is {value!r}, not a time with a time zone, such as '2026-11-01T00:00:00Z'")
    return parsed.astimezone(UTC)


def earliest(lifecycles: Iterable[Lifecycle | None]) -> Lifecycle | None:
    """Combine the lifecycles of one operation: the earliest dates, and every link."""
    declared = [lifecycle for lifecycle in lifecycles if lifecycle is not None]
    if len(declared) < 2:
        return declared[0] if declared else None
    return Lifecycle(
        min(lifecycle.since for lifecycle in declared),
        min((lifecycle.sunset for lifecycle in declared if lifecycle.sunset is not None), default=None),
        tuple(dict.fromkeys(link for lifecycle in declared for link in lifecycle.links)),
        ended=any(lifecycle.ended for lifecycle in declared),
    )


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
        links = _links(self.sunset_at, self.migration_url, f"{base}{self.successor}/" if self.successor else "")
        return Lifecycle(self.deprecated_at, self.sunset_at, links, ended=self.declared == "sunset")


def parse_versions(declared: Mapping[Any, Any]) -> dict[str, Version]:
    """Return the versions by name. Raise ``ValueError`` with a message that completes the sentence "The setting …"."""
    if not isinstance(declared, Mapping):
        raise ValueError("must map versions to their status and dates, such as {'v1': {'status': 'active'}}")
    versions: dict[str, Version] = {}
    for name, fields in declared.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(f"must have names such as 'v1' or 'v1.2', not {name!r}")
        try:
            versions[name] = _version(name, fields)
        except ValueError as error:
            raise ValueError(f"has an error in {name!r}: {error}") from error
    for version in versions.values():
        if version.successor and (version.successor not in versions or version.successor == version.name):
            raise ValueError(f"has an error in {version.name!r}: 'successor' is not another declared version")
    return versions


def _version(name: str, fields: object) -> Version:
    if not isinstance(fields, Mapping) or set(fields) - _FIELDS:
        raise ValueError(f"the allowed keys are {', '.join(sorted(_FIELDS))}")
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
