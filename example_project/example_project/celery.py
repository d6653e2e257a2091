"""Lets ``celery -A example_project worker -l info`` find the application, in the folder of manage.py."""

from __future__ import annotations

import os
from typing import Any

from celery.signals import worker_init

from background.celery import app
from example_project import garbage

__all__ = ["app"]

garbage.collect_rarely()
# Celery would run the system checks and discard their messages. They import all views, which a worker does not need.
os.environ.setdefault("CELERY_SKIP_CHECKS", "true")


@worker_init.connect(dispatch_uid="example_project.celery")
def _freeze(**_: Any) -> None:
    # All tasks are imported now, and no worker process is forked yet.
    garbage.freeze()
