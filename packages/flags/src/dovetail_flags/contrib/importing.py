"""The document that ``services.import_flags`` reads, for the readers of other packages' flags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dovetail_flags.rules.grammar import MAX_VALUES
from dovetail_flags.services import EXPORT_FORMAT
from dovetail_flags.types.kinds import LONGEST_KEY


@dataclass
class Export:
    """The flags of another package, and notes for the person who imports them.

    A note says what has another key or what cannot be expressed. A flag is then never on for more people than before.
    """

    flags: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        return {"format": EXPORT_FORMAT, "flags": self.flags, "notes": self.notes}

    def add(
        self, name: str, *, enabled: bool, rules: Sequence[dict[str, Any]] = (), on: bool, description: str
    ) -> None:
        """Add a boolean flag. ``on`` is its value where no rule matches."""
        key = self._key(name)
        if key is not None:
            self.flags.append(
                {
                    "key": key,
                    "name": name[:200],
                    "description": description,
                    "type": "boolean",
                    "variants": {"on": True, "off": False},
                    "enabled": enabled,
                    "off_variant": "off",
                    "default_variant": "on" if on else "off",
                    "rules": list(rules),
                }
            )

    def _key(self, name: str) -> str | None:
        key = re.sub(r"[._-]*[^a-z0-9._-]+[._-]*|[._-]{2,}", "-", name.lower()).strip("._-")
        key = key if key[:1].isalpha() else f"flag-{key}".rstrip("-")
        key = key[:LONGEST_KEY].rstrip("._-")
        if any(flag["key"] == key for flag in self.flags):
            self.notes.append(f"{name!r} is not imported, because another flag has the key {key!r}.")
            return None
        if key != name:
            self.notes.append(f"{name!r} has the key {key!r}.")
        return key


def serve_on(identifier: str, attribute: str, op: str, values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Yield rules that serve ``on`` where the attribute meets the condition, with at most 1 000 values each."""
    for start in range(0, len(values), MAX_VALUES):
        condition = {"attribute": attribute, "op": op, "values": list(values[start : start + MAX_VALUES])}
        suffix = f"-{start // MAX_VALUES + 1}" if start else ""
        yield {"id": f"{identifier}{suffix}", "when": [condition], "serve": "on"}
