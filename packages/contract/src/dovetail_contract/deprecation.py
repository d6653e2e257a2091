"""``Deprecation`` (RFC 9745), ``Sunset`` (RFC 8594) and their links, for versions, paths and single views.

``CONTRACT_DEPRECATIONS`` maps the beginning of a path to what becomes of it; a view says it of itself::

    contract = {"deprecated": {"since": "2026-11-01T00:00:00Z", "sunset": "2027-05-01T00:00:00Z", "link": "https://…"}}

or of single operations, by ``"only": ["PUT", "export"]``, methods and actions, or by ``@action(contract=…)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.http.response import HttpResponseBase
from django.utils.dateparse import parse_datetime
from django.utils.http import http_date

from dovetail_contract.conf import conf
from dovetail_contract.declarations import contract_of


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """``since`` may lie in the future; ``links`` are pairs of relation and address; ``ended`` whatever the date."""

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
        return next((address for relation, address in self.links if relation == "successor-version"), "")

    def headers(self) -> dict[str, str]:
        found = {"Deprecation": f"@{int(self.since.timestamp())}"}
        if self.sunset is not None:
            found["Sunset"] = http_date(self.sunset.timestamp())
        if self.links:
            found["Link"] = ", ".join(f'<{address}>; rel="{relation}"' for relation, address in self.links)
        return found


def lifecycle(declared: Mapping[str, Any]) -> Lifecycle:
    """Raises ``ValueError`` that says what is wrong."""
    if unknown := set(declared) - {"since", "sunset", "link", "successor"}:
        raise ValueError(f"knows since, sunset, link and successor, and not {', '.join(sorted(unknown))}")
    since, sunset = (time_of(declared.get(name)) for name in ("since", "sunset"))
    if since is None:
        raise ValueError("needs a time 'since' with its zone, such as '2026-11-01T00:00:00Z'")
    if sunset is not None and sunset < since:
        raise ValueError("ends ('sunset') before it is deprecated ('since')")
    link, successor = str(declared.get("link", "")), str(declared.get("successor", ""))
    links = (("deprecation", link), ("sunset", link if sunset else ""), ("successor-version", successor))
    return Lifecycle(since, sunset, tuple(each for each in links if each[1]))


def time_of(value: Any) -> datetime | None:
    """A time with its zone, in UTC; None as None. Raises ``ValueError`` for anything else."""
    parsed = parse_datetime(value) if isinstance(value, str) else value
    if parsed is None and value is None:
        return None
    if not isinstance(parsed, datetime) or parsed.tzinfo is None:
        raise ValueError(f"has {value!r} for a time with its zone, such as '2026-11-01T00:00:00Z'")
    return parsed.astimezone(UTC)


def earliest(found: Iterable[Lifecycle | None]) -> Lifecycle | None:
    """All that apply as one: of several dates the earliest holds, and every link stays."""
    several = [each for each in found if each is not None]
    if len(several) < 2:
        return several[0] if several else None
    return Lifecycle(
        min(each.since for each in several),
        min((each.sunset for each in several if each.sunset is not None), default=None),
        tuple(dict.fromkeys(link for each in several for link in each.links)),
        ended=any(each.ended for each in several),
    )


def of_path(path: str) -> Lifecycle | None:
    """What ``CONTRACT_VERSIONS`` and ``CONTRACT_DEPRECATIONS``, where the longest beginning counts, say of a path."""
    from dovetail_contract import versions  # it reads times as this module does

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
    """What a view says of its operation; ``only`` names the methods and actions that will go, if not all of them."""
    declared = contract_of(view).get("deprecated")
    if not declared or not {method, action}.intersection(declared.get("only", (method,))):
        return None
    return lifecycle({name: value for name, value in declared.items() if name != "only"})


def mark(response: HttpResponseBase, found: Lifecycle) -> None:
    for name, value in found.headers().items():
        if name == "Link" and name in response.headers:
            value = f"{response.headers[name]}, {value}"
        response.headers[name] = value
