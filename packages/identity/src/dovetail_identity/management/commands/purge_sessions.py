from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext as _

from dovetail_core.commands import Purge, PurgeCommand
from dovetail_identity import services


class Command(PurgeCommand):
    help = "Delete expired sessions and registrations. Run this command daily."

    def purges(self) -> Iterable[tuple[str, Purge]]:
        return [
            (_("expired sessions"), services.purge_sessions),
            (_("expired registrations"), services.purge_registrations),
        ]
