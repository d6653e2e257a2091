"""What the function of a job gets: progress, cancellation, and heartbeats while it runs."""

from __future__ import annotations

import logging
import threading
import time
from contextvars import copy_context
from types import TracebackType
from typing import ClassVar, Self
from uuid import UUID

from django.db import connections
from django.db.models import QuerySet
from django.utils import timezone

from dovetail_adminapi.conf import conf
from dovetail_adminapi.jobs.exceptions import Cancelled, LeaseLost, TimedOut
from dovetail_adminapi.models import Job, JobState

logger = logging.getLogger("dovetail.adminapi")


class RunningJob:
    """The first argument of a job's function.

    A thread sends a heartbeat each third of the lease, also while the function waits. It stops one lease after the
    timeout, so that a job that hangs becomes lost.
    """

    #: Seconds between two statements of ``progress()``, and of ``check_cancelled()``.
    interval: ClassVar[float] = 1.0

    def __init__(self, job: Job, *, timeout: float, using: str) -> None:
        self.id: UUID = job.pk
        self.name = job.name
        self.attempt = job.attempt
        self.reason = job.reason
        self.requested_by = job.requested_by
        self.organization_key = job.organization_key
        self._using = using
        self._lease = conf.JOB_LEASE_SECONDS
        self._confirmed = time.monotonic()
        self._deadline = self._confirmed + timeout
        self._written = self._checked = self._confirmed - self.interval
        self._progress: dict[str, object] = {}
        self._cancelled = self._taken = False
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        # With the caller's context: a project's database router may read it.
        self._thread = threading.Thread(target=copy_context().run, args=(self._beat,), name="dovetail-job", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        if self._progress and kind is None and not self._is_atomic():
            self._write()
        if self._thread is not None:
            # A statement of the thread may wait for the database; the row's condition makes it harmless.
            self._thread.join(5)

    def progress(self, done: int, total: int | None = None, text: str = "") -> None:
        """Show how much is done. Call it as often as you like: it sends at most one statement a second.

        In a transaction, it sends none, because the row would be locked until the commit; the next heartbeat shows it.
        Raise ``TimedOut`` and ``LeaseLost``.
        """
        self._progress = {"progress_done": done, "progress_total": total, "progress_text": text[:200]}
        self.check_lease()
        now = time.monotonic()
        if now - self._written >= self.interval and not self._is_atomic():
            self._written = now
            self._write()
            self.check_lease()

    def check_cancelled(self) -> None:
        """Raise ``Cancelled`` if the cancellation was requested. It sends at most one statement a second.

        Raise ``TimedOut`` and ``LeaseLost`` too.
        """
        self.check_lease()
        now = time.monotonic()
        if now - self._checked >= self.interval:
            self._checked = now
            self._read()
        self.check_lease()
        if self._cancelled:
            raise Cancelled(f"The job {self.id} was cancelled.")

    def check_lease(self) -> None:
        """Raise ``LeaseLost`` if another attempt may have the row, and ``TimedOut`` after the timeout."""
        now = time.monotonic()
        if self._taken or now - self._confirmed > self._lease:
            raise LeaseLost(f"The job {self.id} has lost its lease.")
        if now > self._deadline:
            raise TimedOut(f"The job {self.id} did not finish within its timeout.")

    def _rows(self) -> QuerySet[Job]:
        return Job.objects.using(self._using).filter(pk=self.id, attempt=self.attempt, state=JobState.RUNNING)

    def _is_atomic(self) -> bool:
        return connections[self._using].in_atomic_block

    def _write(self) -> None:
        """Send a heartbeat and the latest progress."""
        progress, self._progress = self._progress, {}
        began = time.monotonic()
        if self._rows().update(heartbeat_at=timezone.now(), **progress):
            self._confirmed = began
        else:
            self._taken = True

    def _read(self) -> None:
        requested = self._rows().values_list("cancel_requested_at", flat=True).first()
        self._cancelled = self._cancelled or requested is not None

    def _beat(self) -> None:
        end = self._deadline + self._lease
        while not self._over.wait(self._lease / 3) and not self._taken and time.monotonic() < end:
            try:
                self._write()
                self._read()
            except Exception as error:  # noqa: BLE001  # the database may be away; the next heartbeat may arrive
                logger.warning("A heartbeat of the job %s failed: %s.", self.id, type(error).__name__)
            finally:
                # One connection for each running job would be too many.
                connections.close_all()
