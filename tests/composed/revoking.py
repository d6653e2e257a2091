"""A task of a project, for workers with ``queue_settings``."""

from __future__ import annotations

from background.celery import app
from dovetail_apikeys.models import APIKey
from dovetail_apikeys.services import revoke_api_key
from dovetail_tenancy import unscoped


@app.task(name="tests.revoke_api_key")
def revoke(key: str) -> None:
    with unscoped(reason="the task has the key"):
        revoke_api_key(APIKey.objects.get(pk=key))
