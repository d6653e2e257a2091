"""A worker process, and another process that sends tasks to it and waits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def sent_to_a_worker(broker: str, results: str, *, pool: str) -> dict[str, Any]:
    """Return the result of ``sender.py``, with a worker that runs two tasks at a time on a separate queue."""
    queue = f"edges_{uuid.uuid4().hex}"
    given = {"WORKER_BROKER": broker, "WORKER_RESULTS": results, "WORKER_QUEUE": queue, "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **given}
    celery = [sys.executable, "-m", "celery", "-A", "tests.tenancy.worker.celery_app", "worker", "-l", "warning"]
    options = ["--pool", pool, "--concurrency", "2", "--without-gossip", "--without-mingle", "-n", f"{queue}@%h"]
    worker = subprocess.Popen(
        [*celery, *options], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        sender = subprocess.run(
            [sys.executable, "-m", "tests.tenancy.worker.sender"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    finally:
        worker.send_signal(signal.SIGTERM)
        output, _ = worker.communicate(timeout=30)
        _delete(queue, broker)
    assert sender.returncode == 0, sender.stderr + output
    found: dict[str, Any] = json.loads(sender.stdout)
    return found


def _delete(name: str, broker: str) -> None:
    """Delete the worker's queue and its exchange, which are durable."""
    from kombu import Connection, Exchange, Queue

    with Connection(broker) as connection:
        queue = Queue(name, Exchange(name), routing_key=name, channel=connection.default_channel)
        # With Redis, only the process that has declared a queue knows its bindings.
        queue.declare()
        queue.delete()
        queue.exchange.delete()
