from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext as _

from dovetail_core.commands import Purge, PurgeCommand
from dovetail_magiclink import services


class Command(PurgeCommand):
    help = "Delete magic links MAGIC_LINK_RETENTION_HOURS after they expire. Run this command once a day."

    def purges(self) -> Iterable[tuple[str, Purge]]:
        return [(_("magic links"), services.purge_magic_links)]
