from __future__ import annotations

# Imported with the project, so that every process (not only the worker) binds @shared_task to this app.
from example_project.celery import app as celery_app

__all__ = ["celery_app"]
