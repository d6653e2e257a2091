"""Jobs in real Celery workers, which are killed."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("celery", reason="Celery is not installed")

from celery import current_app

from dovetail_adminapi.jobs import services, states, sweep
from dovetail_adminapi.models import Job
from tests.adminapi.worker.cluster import Cluster, enqueue, settle, wait_until

pytestmark = pytest.mark.django_db(transaction=True)
BROKERS = {"redis": os.environ.get("REDIS_URL", ""), "amqp": os.environ.get("CELERY_BROKER_URL", "")}
JOBS = 40


@pytest.fixture(params=[*BROKERS])
def cluster(request: pytest.FixtureRequest, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    broker = BROKERS[request.param]
    if not broker:
        pytest.skip("needs REDIS_URL" if request.param == "redis" else "needs CELERY_BROKER_URL")
    from tests.adminapi.worker.celery_app import app

    cluster = Cluster(tmp_path, broker)
    settings.ADMINAPI_RUNNER = "dovetail_adminapi.contrib.celery.run"
    settings.ADMINAPI_JOB_LEASE_SECONDS = 3
    app.set_current()
    app.set_default()
    app.conf.update(broker_url=broker, task_default_queue=cluster.queue)
    assert current_app.conf.task_default_queue == cluster.queue
    with cluster:
        yield cluster
    app.close()


def test_jobs_survive_killed_workers(cluster: Cluster) -> None:
    """One worker is killed as a whole, and processes of its pool. Nothing runs twice at a time or stays running."""
    for number in range(JOBS):
        enqueue(cluster, number)
    chance = random.Random(7)
    moments = [5, 12, 20]

    def chaos() -> None:
        if moments and cluster.begun() >= moments[0]:
            moments.pop(0)
            time.sleep(chance.random() / 10)
            if len(moments) == 1:
                cluster.kill_worker()
                cluster.start_worker()
            else:
                cluster.kill_child()

    settle(cluster, numbers=JOBS, chaos=chaos, seconds=180)
    assert moments == []
    assert not [line for line in cluster.trace() if line[1] == "overlap"]
    completed = Counter(line[0] for line in cluster.trace() if line[1] == "end")
    assert set(completed) == {str(number) for number in range(JOBS)}
    assert not Job.objects.exclude(rank__gte=states.FINAL).exists()
    _cancel_while_running(cluster)


def _cancel_while_running(cluster: Cluster) -> None:
    """A job that waits for its cancellation, and one whose process is ended."""
    for name in ("trace", "trace-killable"):
        values = {"folder": str(cluster.folder), "number": 1000, "seconds": 600.0}
        job = services.enqueue(name, values, actor="ada")
        wait_until(lambda job=job: _fresh(job).state == "running")  # type: ignore[misc]  # of this round
        services.cancel_job(job=job, actor="ada")
        wait_until(lambda job=job: _fresh(job).state == "cancelled")  # type: ignore[misc]  # as above
        assert sweep.sweep().lost == 0


def _fresh(job: Job) -> Job:
    job.refresh_from_db()
    return job
