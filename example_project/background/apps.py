from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings


class BackgroundConfig(AppConfig):
    name = "background"

    def ready(self) -> None:
        if settings.CELERY_BROKER_URL:
            # Binds the packages' @shared_task to the application in every process that publishes tasks.
            from background import celery  # noqa: F401
