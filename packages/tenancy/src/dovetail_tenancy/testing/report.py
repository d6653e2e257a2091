from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """What was called and what came of it."""

    driven: set[str] = field(default_factory=set)
    leaks: list[str] = field(default_factory=list)
    undriven: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)

    def leak(self, endpoint: str, what: str) -> None:
        line = f"{endpoint}: {what}"
        if line not in self.leaks:
            self.leaks.append(line)

    def __str__(self) -> str:
        lines = [f"{len(self.driven)} endpoints were driven."]
        if self.leaks:
            lines += ["", "Leaks:", *(f"  {leak}" for leak in self.leaks)]
        if self.undriven:
            lines += ["", "Could not be driven, so nothing is known of them:"]
            lines += [f"  {endpoint}: {why}" for endpoint, why in self.undriven.items()]
            lines.append(
                "  Give bodies={'POST documents/': lambda organization: {…}} for what only you can know, or name the "
                "endpoint in skip={'POST documents/': 'why it needs no test'}."
            )
        if self.stale:
            lines += ["", f"In skip= or bodies=, and no endpoint: {', '.join(map(repr, self.stale))}"]
        return "\n".join(lines)
