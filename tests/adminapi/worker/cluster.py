"""Celery workers in processes of their own, which are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from django.db import connection
from django.utils import timezone

from dovetail_adminapi.jobs import services, states, sweep
from dovetail_adminapi.models import Job, JobState

ROOT = Path(__file__).parents[3]


def wait_until(done: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.05)


class Cluster:
    """``workers`` processes with ``concurrency`` processes each, on a queue of their own."""

    def __init__(
        self, folder: Path, broker: str, *, workers: int = 1, concurrency: int = 2, lease: int, late: bool = False
    ) -> None:
        self.folder = folder
        self.broker = broker
        self.queue = f"adminapi_{uuid.uuid4().hex}"
        self.concurrency = concurrency
        self.number = workers
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": os.environ.get("WORKER_SETTINGS", "tests.adminapi.settings_on_file"),
            "PYTHONPATH": str(ROOT),
            "WORKER_BROKER": broker,
            "WORKER_QUEUE": self.queue,
            "WORKER_DATABASE": str(connection.settings_dict["NAME"]),
            "WORKER_LEASE": str(lease),
            **({"WORKER_ACKS_LATE": "1"} if late else {}),
        }
        self.workers: list[subprocess.Popen[bytes]] = []
        self.kills: Counter[str] = Counter()

    def __enter__(self) -> Self:
        for _ in range(self.number):
            self.start_worker()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            self._kill_group(worker)
        self._delete_queue()

    def start_worker(self) -> None:
        command = [sys.executable, "-m", "celery", "-A", "tests.adminapi.worker.celery_app", "worker", "-l", "warning"]
        options = ["--concurrency", str(self.concurrency), "--without-gossip", "--without-mingle"]
        name = ["-n", f"{uuid.uuid4().hex}@%h"]
        with (self.folder / "workers.log").open("ab") as log:
            self.workers.append(
                subprocess.Popen(
                    [*command, *options, *name],
                    cwd=ROOT,
                    env=self.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # A group of its own, so that the whole worker can be killed at once.
                    start_new_session=True,
                )
            )

    def kill_worker(self, number: int = 0) -> None:
        """Kill a worker with all its processes, as the kernel does without memory or a node that is switched off."""
        self._kill_group(self.workers.pop(number))
        self.kills["worker"] += 1

    def kill_child(self) -> None:
        """Kill a process of a pool, chosen at random. Its parent survives and starts another one."""
        children = self.children()
        if children:
            self.kill_process(random.choice(children))

    def kill_process(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.kills["child"] += 1

    def children(self) -> list[int]:
        """Return the processes of the pools, which run the jobs."""
        pids: list[int] = []
        for worker in self.workers:
            for path in Path(f"/proc/{worker.pid}/task").glob("*/children"):
                with suppress(OSError):
                    pids += [int(pid) for pid in path.read_text().split()]
        return pids

    def trace(self) -> list[list[str]]:
        path = self.folder / "trace"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def begun(self) -> dict[int, int]:
        """Return the numbers of jobs that have begun, each with its last process."""
        return {int(line[0]): int(line[2]) for line in self.trace() if line[1] == "begin"}

    def _kill_group(self, worker: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def _delete_queue(self) -> None:
        from kombu import Connection, Exchange, Queue

        with Connection(self.broker) as broker:
            queue = Queue(self.queue, Exchange(self.queue), routing_key=self.queue, channel=broker.default_channel)
            # With Redis, only the process that has declared a queue knows its bindings.
            queue.declare()
            queue.delete()
            queue.exchange.delete()


def enqueue(cluster: Cluster, number: int, **options: Any) -> Job:
    values = {"folder": str(cluster.folder), "number": number, **options}
    return services.enqueue("trace", values, actor="ada", unique_key=str(number))


def settle(cluster: Cluster, *, numbers: int, chaos: Callable[[], None], seconds: float) -> dict[str, int]:
    """Sweep, and retry jobs as an administrator does, until each number has succeeded. Return what happened."""
    end = time.monotonic() + seconds
    seen: Counter[str] = Counter()
    done: set[int] = set()
    while len(done) < numbers:
        assert time.monotonic() < end, f"{numbers - len(done)} jobs have not finished: {_states()}"
        chaos()
        before = timezone.now()
        report = sweep.sweep()
        seen["swept lost"] += report.lost
        seen["published"] += report.published
        # The sweep leaves no job running whose lease is over.
        assert not Job.objects.filter(states.silent(before)).exists()
        for job in Job.objects.filter(state__in=(JobState.LOST, JobState.FAILED), rank=states.FINAL)[:50]:
            seen[str(job.state)] += 1
            services.retry_job(job=job, actor="ada")
        succeeded = Job.objects.filter(state=JobState.SUCCEEDED).values_list("parameters", flat=True)
        done = {values["number"] for values in succeeded}
        time.sleep(0.2)
    return dict(seen)


def _states() -> dict[str, int]:
    return dict(Counter(Job.objects.values_list("state", flat=True)))
