"""The services of this package: jobs and support access. Views, commands and tasks call them."""

from __future__ import annotations

from dovetail_adminapi.jobs.services import cancel_job, enqueue, retry_job
from dovetail_adminapi.support.access import (
    approve_support_access,
    end_support_access,
    request_support_access,
    start_support_access,
)

__all__ = [
    "approve_support_access",
    "cancel_job",
    "end_support_access",
    "enqueue",
    "request_support_access",
    "retry_job",
    "start_support_access",
]
