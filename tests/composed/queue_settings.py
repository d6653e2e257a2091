"""The composed service with a separate queue, because other workers use the same broker."""

from __future__ import annotations

import os

from example_project.settings import *  # noqa: F403  # all that is not said otherwise here

CELERY_TASK_DEFAULT_QUEUE = os.environ["TEST_QUEUE"]
