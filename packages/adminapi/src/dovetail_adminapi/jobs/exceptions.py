"""The exceptions of jobs. ``str(error)`` may be shown to users; ``error.code`` is stable."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID


class JobError(Exception):
    """The base of the exceptions of jobs."""

    code: ClassVar[str] = "invalid"


class UnknownJob(JobError):
    code = "unknown_job"
    field = "name"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no job {name!r}. GET jobs/definitions lists the jobs.")


class InvalidParameters(JobError):
    """``errors`` has the form of the errors of a serializer."""

    code = "invalid"

    def __init__(self, errors: Any) -> None:
        self.errors = errors
        super().__init__("The parameters of the job are invalid.")


class ReasonRequired(JobError):
    code = "reason_required"
    field = "reason"

    def __init__(self, name: str) -> None:
        super().__init__(f"The job {name!r} requires a reason.")


class JobRunning(JobError):
    """A live job has the same name and unique key. ``job_id`` is its primary key."""

    code = "job_running"

    def __init__(self, job_id: UUID) -> None:
        self.job_id = job_id
        super().__init__(f"The job {job_id} is the same and has not finished.")


class JobFinished(JobError):
    code = "job_finished"

    def __init__(self, job_id: UUID, state: str) -> None:
        super().__init__(f"The job {job_id} is {state} and cannot be cancelled.")


class NotRetryable(JobError):
    code = "job_not_retryable"

    def __init__(self, job_id: UUID, state: str) -> None:
        super().__init__(
            f"The job {job_id} is {state}. Only jobs that failed, were cancelled or are lost can be retried."
        )


class AlreadyRetried(JobError):
    code = "job_retried"

    def __init__(self, job_id: UUID) -> None:
        super().__init__(f"The job {job_id} has been retried already.")


class Cancelled(JobError):
    """Raised in a job whose cancellation was requested. The job should not catch it."""

    code = "job_cancelled"


class TimedOut(JobError):
    """Raised in a job that runs longer than its ``timeout``."""

    code = "job_timed_out"


class LeaseLost(JobError):
    """Raised in a job whose row belongs to another attempt, or whose heartbeats failed for as long as the lease.

    The job must stop: another worker may run it.
    """

    code = "job_lease_lost"
