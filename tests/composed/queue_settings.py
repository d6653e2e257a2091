"""The composed service with a separate queue, because other workers use the same broker."""

from __future__ import annotations

import os

from example_project.settings import *  # noqa: F403  # the other settings

CELERY_TASK_DEFAULT_QUEUE = os.environ["TEST_QUEUE"]
CELERY_IMPORTS = ["tests.composed.revoking"]
