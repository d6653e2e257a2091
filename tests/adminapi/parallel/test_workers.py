"""Jobs in real Celery workers, which are killed."""

from __future__ import annotations

import os
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
#: The jobs whose process, and whose worker with all its processes, is killed.
CHILD, WORKER = 5, 20
#: Long enough for a worker that the kernel does not run for some seconds.
LEASE = 10


@pytest.fixture(params=[*BROKERS])
def cluster(request: pytest.FixtureRequest, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    broker = BROKERS[request.param]
    if not broker:
        pytest.skip("needs REDIS_URL" if request.param == "redis" else "needs CELERY_BROKER_URL")
    from tests.adminapi.worker.celery_app import app

    cluster = Cluster(tmp_path, broker, lease=LEASE)
    settings.ADMINAPI_RUNNER = "dovetail_adminapi.contrib.celery.run"
    settings.ADMINAPI_JOB_LEASE_SECONDS = LEASE
    # The sweep publishes the jobs again whose messages a killed worker had and the broker does not deliver again.
    monkeypatch.setattr(states, "REPUBLISH", 5)
    app.set_current()
    app.set_default()
    app.conf.update(broker_url=broker, task_default_queue=cluster.queue)
    assert current_app.conf.task_default_queue == cluster.queue
    with cluster:
        yield cluster
    app.close()


def test_jobs_survive_killed_workers(cluster: Cluster) -> None:
    """A process of a pool is killed, then a worker as a whole. No job is lost silently or runs twice at a time."""
    for number in range(JOBS):
        enqueue(cluster, number, until_killed=number in {CHILD, WORKER})
    victims = [CHILD, WORKER]

    def chaos() -> None:
        processes = cluster.begun()
        if victims and victims[0] in processes:
            number = victims.pop(0)
            (cluster.folder / f"{number}.killed").touch()
            if number == CHILD:
                cluster.kill_process(processes[number])
            else:
                cluster.kill_worker()
                cluster.start_worker()

    seen = settle(cluster, numbers=JOBS, chaos=chaos, seconds=300)
    assert cluster.kills == {"child": 1, "worker": 1}
    # Nobody reports the end of a whole worker; the lease does.
    assert seen["lost"] >= 1
    assert not [line for line in cluster.trace() if line[1] == "overlap"]
    completed = Counter(line[0] for line in cluster.trace() if line[1] == "end")
    assert set(completed) == {str(number) for number in range(JOBS)}
    wait_until(lambda: bool(sweep.sweep()) and not Job.objects.filter(rank__lt=states.FINAL).exists())
    _cancel_while_running(cluster)


def _cancel_while_running(cluster: Cluster) -> None:
    """A job that looks whether it was cancelled, and one whose process is ended."""
    for name in ("trace", "trace-killable"):
        values = {"folder": str(cluster.folder), "number": JOBS, "seconds": 600.0}
        job = services.enqueue(name, values, actor="ada")
        # Calls are repeated, because the broker may be too slow for one.
        wait_until(lambda job=job: _swept(job) == "running")  # type: ignore[misc]  # of this round
        wait_until(lambda job=job: services.cancel_job(job=job, actor="ada").state == "cancelled")  # type: ignore[misc]  # as above


def _swept(job: Job) -> str:
    sweep.sweep()
    job.refresh_from_db()
    return job.state
