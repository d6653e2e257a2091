from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from dovetail_notify.services import purge_notifications


class Command(BaseCommand):
    help = "Deletes notifications whose time is over (NOTIFY_RETENTION_DAYS, NOTIFY_UNREAD_RETENTION_DAYS)."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{purge_notifications()} notifications were deleted.")
