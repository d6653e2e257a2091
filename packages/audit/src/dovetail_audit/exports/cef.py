"""ArcSight Common Event Format, version 0 (CEF Implementation Standard, revision 26).

``CEF:0|vendor|product|version|signature id|name|severity|extension``: one line per entry, in UTF-8. The custom strings
are cut to the lengths of the CEF dictionary, so ``cs5`` may hold only the start of a large ``data``; JSON lines are
complete.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from ipaddress import ip_address
from typing import Any, Final

from dovetail_audit.conf import conf
from dovetail_audit.models import Entry

#: From 0 to 10. Agents map 0–3 to low, 4–6 to medium and 7–8 to high.
SEVERITIES: Final = {"success": 3, "intent": 4, "failed": 5, "denied": 7}
VENDOR: Final = "Dovetail"
PRODUCT: Final = "dovetail-audit"

# The attack: a client puts a line break or a terminal sequence into a header, and forges a second event in the
# receiver's file or moves the cursor of a terminal. Line breaks are escaped, other control characters replaced.
_CONTROLS = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CUSTOM = 4000
_FLEXIBLE = 1023


@cache
def product_version() -> str:
    return version(PRODUCT)


def line(entry: Entry) -> bytes:
    """Return the CEF line of an entry."""
    header = ("CEF:0", VENDOR, PRODUCT, product_version(), entry.action, entry.action.replace(".", " "))
    severity = str(SEVERITIES.get(entry.outcome, 5))
    extension = " ".join(f"{key}={_value(value)}" for key, value in _extension(entry) if value not in (None, ""))
    return "|".join([*map(_header, header), severity, extension]).encode() + b"\n"


def _extension(entry: Entry) -> Iterator[tuple[str, Any]]:
    yield "rt", int(entry.at.timestamp() * 1000)
    yield "dvchost", conf.ORIGIN
    yield "externalId", entry.pk
    yield "act", entry.action
    yield "outcome", entry.outcome
    yield "reason", entry.problem
    yield "suid", entry.actor
    yield "suser", entry.actor_label
    yield from _source(entry.ip)
    yield "requestClientApplication", entry.user_agent
    data = json.dumps(entry.data, ensure_ascii=False, separators=(",", ":")) if entry.data else None
    yield from _labelled("cs1", "organization", entry.organization, _CUSTOM)
    yield from _labelled("cs2", "request_id", entry.request_id, _CUSTOM)
    yield from _labelled("cs3", "target_kind", entry.target_kind, _CUSTOM)
    yield from _labelled("cs4", "target", entry.target, _CUSTOM)
    yield from _labelled("cs5", "data", data, _CUSTOM)
    yield from _labelled("cs6", "actor_kind", entry.actor_kind, _CUSTOM)
    yield from _labelled("flexString1", "impersonator", entry.impersonator, _FLEXIBLE)
    yield from _labelled("flexString2", "origin", entry.origin, _FLEXIBLE)
    yield from _labelled("cn1", "status", entry.status, _CUSTOM)


def _source(text: str | None) -> Iterator[tuple[str, Any]]:
    """Yield the address: ``src`` holds IPv4 only, IPv6 has a field of its own. A network is neither."""
    try:
        address = ip_address(text or "")
    except ValueError:
        return
    if address.version == 4:
        yield "src", address
    else:
        yield from _labelled("c6a2", "Source IPv6 Address", address, _CUSTOM)


def _labelled(key: str, label: str, value: object, limit: int) -> Iterator[tuple[str, Any]]:
    if value not in (None, ""):
        yield key, str(value)[:limit]
        yield f"{key}Label", label


def _header(text: str) -> str:
    text = _CONTROLS.sub(" ", text).replace("\n", " ").replace("\r", " ")
    return text.replace("\\", "\\\\").replace("|", "\\|")


def _value(value: object) -> str:
    text = _CONTROLS.sub(" ", str(value)).replace("\\", "\\\\").replace("=", "\\=")
    return text.replace("\r", "\\r").replace("\n", "\\n")
