"""Kill Celery workers at random moments while they run jobs of dovetail-adminapi, and look for lost or doubled jobs.

    DATABASE_URL=postgres://… REDIS_URL=redis://… CELERY_BROKER_URL=amqp://… python bench/adminapi_jobs.py
        [--jobs 1000] [--workers 2] [--kill-every 4] [--lease 6] [--late]

Creates and drops test_<name>_parallel. Each job sleeps for a moment in a worker process, which holds a lock on a file
of the job, so that a second process at the same time is noticed. Every few seconds, a whole worker or a process of its
pool is killed with SIGKILL, at a random moment, and a worker is started in its place. The sweep runs five times a
second, publishes a queued job again after a minute, and jobs that are lost or failed are retried, as an administrator
does, until each number has succeeded. With ``--late``, tasks are acknowledged late, so that the brokers deliver those
of killed workers again.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "packages/adminapi/src"), str(ROOT / "packages/core/src")]
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.adminapi.settings_on_file"

import django  # noqa: E402

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402

from dovetail_adminapi.jobs import states  # noqa: E402
from dovetail_adminapi.models import Job  # noqa: E402
from tests.adminapi.worker.celery_app import app  # noqa: E402
from tests.adminapi.worker.cluster import Cluster, enqueue, settle  # noqa: E402

settings.ADMINAPI_RUNNER = "dovetail_adminapi.contrib.celery.run"
# Redis keeps the messages that a killed worker had reserved for an hour.
states.REPUBLISH = 60


def measure(broker: str, options: Any) -> None:
    Job.objects.all().delete()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), broker, workers=options.workers, lease=options.lease, late=options.late)
        app.set_current()
        app.set_default()
        app.conf.update(broker_url=broker, task_default_queue=cluster.queue)
        begun = time.monotonic()
        next_kill = begun + 8  # after the workers have started

        def chaos() -> None:
            nonlocal next_kill
            if time.monotonic() < next_kill:
                return
            next_kill = time.monotonic() + chance.uniform(0.5, 1.5) * options.kill_every
            if chance.random() < 0.5:
                cluster.kill_worker(chance.randrange(len(cluster.workers)))
                cluster.start_worker()
            else:
                cluster.kill_child()

        with cluster:
            for number in range(options.jobs):
                enqueue(cluster, number, seconds=round(chance.uniform(0.05, 0.6), 2))
            enqueued = time.monotonic() - begun
            seen = settle(cluster, numbers=options.jobs, chaos=chaos, seconds=options.seconds)
            took = time.monotonic() - begun
            report(cluster, options, seen, enqueued, took)


def report(cluster: Cluster, options: Any, seen: dict[str, int], enqueued: float, took: float) -> None:
    trace = cluster.trace()
    ends = Counter(line[0] for line in trace if line[1] == "end")
    begins = Counter(line[0] for line in trace if line[1] == "begin")
    print(f"{cluster.broker.partition(':')[0]}: {options.jobs} jobs in {took:.0f} s, enqueued in {enqueued:.1f} s")
    print(f"  killed: {dict(cluster.kills)}; runs begun {sum(begins.values())}, completed {sum(ends.values())}")
    print(f"  states that were seen: {seen}; rows: {dict(Counter(Job.objects.values_list('state', flat=True)))}")
    print(f"  attempts by row: {dict(Counter(Job.objects.values_list('attempt', flat=True)))}")
    overlaps = sum(line[1] == "overlap" for line in trace)
    missing = options.jobs - len(ends)
    silent = Job.objects.filter(states.silent()).count()
    unfinished = Job.objects.filter(rank__lt=states.FINAL).count()
    print(f"  at the same time twice: {overlaps}; never completed: {missing}; past their lease: {silent}; "
          f"not final: {unfinished}", flush=True)  # fmt: skip
    if overlaps or missing or silent or unfinished:
        sys.exit("A job was lost or doubled.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill-every", type=float, default=4.0)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--late", action="store_true")
    parser.add_argument("--lease", type=int, default=6)
    options = parser.parse_args()
    settings.ADMINAPI_JOB_LEASE_SECONDS = options.lease
    brokers = [os.environ[name] for name in ("REDIS_URL", "CELERY_BROKER_URL") if os.environ.get(name)]
    if not brokers or connection.vendor == "sqlite":
        sys.exit("Set DATABASE_URL=postgres://…, and REDIS_URL=redis://… or CELERY_BROKER_URL=amqp://…")
    original = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        for broker in brokers:
            measure(broker, options)
    finally:
        connection.creation.destroy_test_db(original, verbosity=0)


if __name__ == "__main__":
    main()
