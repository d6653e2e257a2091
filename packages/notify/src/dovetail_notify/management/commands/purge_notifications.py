from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext as _

from dovetail_core.commands import Purge, PurgeCommand
from dovetail_notify.services import purge_notifications


class Command(PurgeCommand):
    help = "Delete notifications older than NOTIFY_RETENTION_DAYS or, if unread, NOTIFY_UNREAD_RETENTION_DAYS."
    batch_size = 5000

    def purges(self) -> Iterable[tuple[str, Purge]]:
        # Not delete_in_batches(), because retention can depend on the notification's type, which only Python knows.
        return [(_("notifications"), lambda *, batch_size, progress: purge_notifications(batch=batch_size))]
