"""``Deprecation`` (RFC 9745), ``Sunset`` (RFC 8594) and their links, for versions and for single views.

``CONTRACT_DEPRECATIONS`` maps the beginning of a path to what becomes of it; a view says it of itself::

    contract = {"deprecated": {"since": "2026-11-01T00:00:00Z", "sunset": "2027-05-01T00:00:00Z", "link": "https://…"}}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.dateparse import parse_datetime
from django.utils.http import http_date

from dovetail_contract.conf import conf


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """``since`` may lie in the future; ``successor`` is the address of what takes its place."""

    since: datetime
    sunset: datetime | None = None
    link: str = ""
    successor: str = ""

    @property
    def is_over(self) -> bool:
        return self.sunset is not None and self.sunset <= datetime.now(UTC)

    def headers(self) -> dict[str, str]:
        found = {"Deprecation": f"@{int(self.since.timestamp())}"}
        if self.sunset is not None:
            found["Sunset"] = http_date(self.sunset.timestamp())
        links = (("deprecation", self.link), ("successor-version", self.successor))
        if named := [f'<{address}>; rel="{relation}"' for relation, address in links if address]:
            found["Link"] = ", ".join(named)
        return found


def lifecycle(declared: Mapping[str, Any]) -> Lifecycle:
    """Raises ``ValueError`` that says what is wrong."""
    if unknown := set(declared) - {"since", "sunset", "link", "successor"}:
        raise ValueError(f"knows since, sunset, link and successor, and not {', '.join(sorted(unknown))}")
    times = {name: _time(declared.get(name)) for name in ("since", "sunset")}
    since, sunset = times["since"], times["sunset"]
    if since is None:
        raise ValueError("needs a time 'since' with its zone, such as '2026-11-01T00:00:00Z'")
    if sunset is not None and sunset < since:
        raise ValueError("ends ('sunset') before it is deprecated ('since')")
    return Lifecycle(since, sunset, str(declared.get("link", "")), str(declared.get("successor", "")))


def _time(value: Any) -> datetime | None:
    parsed = parse_datetime(value) if isinstance(value, str) else value
    if parsed is None and value is None:
        return None
    if not isinstance(parsed, datetime) or parsed.tzinfo is None:
        raise ValueError(f"has {value!r} for a time with its zone, such as '2026-11-01T00:00:00Z'")
    return parsed.astimezone(UTC)


def of_path(path: str) -> Lifecycle | None:
    """What ``CONTRACT_DEPRECATIONS`` says of a path: the longest beginning wins."""
    matching = [prefix for prefix in conf.DEPRECATIONS if path.startswith(prefix)]
    return lifecycle(conf.DEPRECATIONS[max(matching, key=len)]) if matching else None


def of_view(view: Any) -> Lifecycle | None:
    declared = (getattr(getattr(view, "cls", view), "contract", None) or {}).get("deprecated")
    return lifecycle(declared) if declared else None


def applying(request: HttpRequest, view: Any) -> Iterator[Lifecycle]:
    for found in (of_path(request.path_info), of_view(view)):
        if found is not None:
            yield found


def mark(response: HttpResponseBase, found: Lifecycle) -> None:
    for name, value in found.headers().items():
        if name == "Link" and name in response.headers:
            value = f"{response.headers[name]}, {value}"
        response.headers[name] = value
