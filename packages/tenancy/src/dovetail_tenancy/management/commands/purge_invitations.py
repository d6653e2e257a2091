from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext as _

from dovetail_core.commands import Purge, PurgeCommand
from dovetail_tenancy.services import purge_invitations


class Command(PurgeCommand):
    help = "Delete invitations that expired more than TENANCY_INVITATION_RETENTION_DAYS days ago."

    def purges(self) -> Iterable[tuple[str, Purge]]:
        return [(_("invitations"), purge_invitations)]
