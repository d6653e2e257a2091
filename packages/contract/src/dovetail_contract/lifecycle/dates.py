"""The dates and links of a deprecation, in ``Deprecation`` (RFC 9745), ``Sunset`` (RFC 8594) and ``Link`` headers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.http import http_date


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
    link, successor = str(declared.get("link", "")), str(declared.get("successor", ""))
    links = (("deprecation", link), ("sunset", link if sunset else ""), ("successor-version", successor))
    return Lifecycle(since, sunset, tuple(pair for pair in links if pair[1]))


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
