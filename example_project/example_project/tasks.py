from __future__ import annotations

from django.conf import settings
from django.core.management import call_command

from background.celery import app


@app.task
def purge(command: str) -> None:
    """Run one of ``settings.PURGE_COMMANDS``. Raise ``ValueError`` for other commands."""
    # Otherwise anybody with access to the broker could run `flush`.
    if command not in settings.PURGE_COMMANDS:
        raise ValueError(f"{command!r} is not a purge command. Allowed: {', '.join(settings.PURGE_COMMANDS)}.")
    call_command(command)
