from __future__ import annotations

from collections.abc import Iterable

from dovetail_core.commands import Purge, PurgeCommand
from dovetail_identity import services


class Command(PurgeCommand):
    help = "Delete the sessions and registrations that have expired. Run it once a day."

    def purges(self) -> Iterable[tuple[str, Purge]]:
        return [("expired sessions", services.purge_sessions), ("expired registrations", services.purge_registrations)]
