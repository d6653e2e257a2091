"""Jobs that write down when they run, and notice if another process runs the same job at that time."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Any

from rest_framework import serializers

from dovetail_adminapi.jobs.registry import admin_job
from dovetail_adminapi.jobs.running import RunningJob


class TraceSerializer(serializers.Serializer[Any]):
    folder = serializers.CharField()
    number = serializers.IntegerField()
    seconds = serializers.FloatField(default=0.05)
    # Runs until its process is killed. The file "NUMBER.killed" says that it was.
    until_killed = serializers.BooleanField(default=False)


@admin_job("trace", parameters=TraceSerializer)
def trace(job: RunningJob, *, folder: str, number: int, seconds: float, until_killed: bool, looks: bool = True) -> int:
    path = Path(folder)
    if until_killed and not (path / f"{number}.killed").exists():
        seconds = 600
    # The kernel releases the lock when the process dies.
    with (path / f"{number}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _write(path, f"{number} overlap")
            raise
        _write(path, f"{number} begin {os.getpid()}")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(0.02, seconds))
            job.progress(1, 2)
            if looks:
                job.check_cancelled()
        _write(path, f"{number} end {os.getpid()}")
    return number


@admin_job("trace-killable", parameters=TraceSerializer, killable=True)
def trace_killable(job: RunningJob, **values: Any) -> int:
    """It does not look whether it was cancelled."""
    return trace(job, **values, looks=False)


def _write(folder: Path, line: str) -> None:
    # One write() of a line to a file opened for appending is not mixed with others.
    with (folder / "trace").open("a") as file:
        file.write(f"{line}\n")
