from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext as _

from dovetail_core.commands import Purge, PurgeCommand
from dovetail_identity.registration.sign_up import purge_registrations
from dovetail_identity.sessions import revocation


class Command(PurgeCommand):
    help = "Delete expired sessions and registrations. Run this command daily."

    def purges(self) -> Iterable[tuple[str, Purge]]:
        return [
            (_("expired sessions"), revocation.purge_sessions),
            (_("expired registrations"), purge_registrations),
        ]
