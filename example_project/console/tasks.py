from __future__ import annotations

from background.celery import app
from console import invitations


@app.task(ignore_result=True)
def notify_invited_person(key: str) -> None:
    invitations.notify_invited_person(key)
