"""The dates and links of a deprecation: ``Deprecation`` (RFC 9745), ``Sunset`` (RFC 8594) and ``Link`` headers."""

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
    """The lifecycle of a dictionary with ``since`` and optionally ``sunset``, ``link`` and ``successor``.

    Raises ``ValueError`` with a message that completes "it …".
    """
    if unknown := set(declared) - {"since", "sunset", "link", "successor"}:
        raise ValueError(f"knows since, sunset, link and successor, and not {', '.join(sorted(unknown))}")
    since, sunset = (time_of(declared.get(name)) for name in ("since", "sunset"))
    if since is None:
        raise ValueError("needs a time 'since' with its zone, such as '2026-11-01T00:00:00Z'")
    if sunset is not None and sunset < since:
        raise ValueError("ends ('sunset') before it is deprecated ('since')")
    link, successor = str(declared.get("link", "")), str(declared.get("successor", ""))
    links = (("deprecation", link), ("sunset", link if sunset else ""), ("successor-version", successor))
    return Lifecycle(since, sunset, tuple(pair for pair in links if pair[1]))


def time_of(value: Any) -> datetime | None:
    """A time with a time zone, converted to UTC; None for None. Raises ``ValueError`` for anything else."""
    parsed = parse_datetime(value) if isinstance(value, str) else value
    if parsed is None and value is None:
        return None
    if not isinstance(parsed, datetime) or parsed.tzinfo is None:
        raise ValueError(f"has {value!r} for a time with its zone, such as '2026-11-01T00:00:00Z'")
    return parsed.astimezone(UTC)


def earliest(lifecycles: Iterable[Lifecycle | None]) -> Lifecycle | None:
    """All lifecycles of one operation combined: the earliest dates, and every link."""
    several = [entry for entry in lifecycles if entry is not None]
    if len(several) < 2:
        return several[0] if several else None
    return Lifecycle(
        min(entry.since for entry in several),
        min((entry.sunset for entry in several if entry.sunset is not None), default=None),
        tuple(dict.fromkeys(link for entry in several for link in entry.links)),
        ended=any(entry.ended for entry in several),
    )
