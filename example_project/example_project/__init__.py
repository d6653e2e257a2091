from __future__ import annotations

# Binds @shared_task to this app in every process, not only in the worker.
from example_project.celery import app as celery_app

__all__ = ["celery_app"]
