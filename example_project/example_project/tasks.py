from __future__ import annotations

from celery import shared_task
from django.conf import settings
from django.core.management import call_command


@shared_task
def purge(command: str) -> None:
    """Run one of ``settings.PURGE_COMMANDS``. Raises ``ValueError`` for any other."""
    # Whoever can write to the broker could otherwise run `flush`.
    if command not in settings.PURGE_COMMANDS:
        raise ValueError(f"{command!r} is no purge command; these are: {', '.join(settings.PURGE_COMMANDS)}.")
    call_command(command)
