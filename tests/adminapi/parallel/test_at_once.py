"""Parallel services in real threads, each with its own connection."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.utils import timezone

from dovetail_adminapi.jobs import execution, services, states, sweep
from dovetail_adminapi.jobs.running import RunningJob
from dovetail_adminapi.metrics import days, rollup
from dovetail_adminapi.models import Job, JobState, MetricPoint
from tests.adminapi.work import temporary_job

pytestmark = pytest.mark.django_db(transaction=True)
PARALLEL = 8
ROUNDS = 6
#: The jobs that the runner has got.
published: list[Any] = []


def hold(job: Job, using: str) -> None:
    published.append(job.pk)


@pytest.fixture(autouse=True)
def _held(settings: Any) -> None:
    settings.ADMINAPI_RUNNER = hold
    settings.ADMINAPI_JOBS = ["tests.adminapi.work"]
    published.clear()


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    barrier = threading.Barrier(len(calls))
    outcomes: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            # The connection is opened first, so that the calls run in parallel.
            connection.ensure_connection()
            barrier.wait(timeout=60)
            outcomes[number] = calls[number]()
        except Exception as error:  # noqa: BLE001  # an outcome like any other, judged by the test
            outcomes[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return outcomes


def in_request(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[[], Any]:
    """Return the call of a service, in the transaction of its request if the project has one."""

    def request() -> Any:
        if not connections.settings["default"]["ATOMIC_REQUESTS"]:
            return call(*args, **kwargs)
        with transaction.atomic():
            return call(*args, **kwargs)

    return request


def names(outcomes: list[Any]) -> Counter[str]:
    return Counter(type(outcome).__name__ for outcome in outcomes)


def make(index: str = "a") -> Job:
    return services.enqueue("rebuild", {"index": index}, actor=None)


def silence(job: Job) -> None:
    past = timezone.now() - timedelta(days=1)
    Job.objects.filter(pk=job.pk).update(state=JobState.RUNNING, rank=1, attempt=1, heartbeat_at=past, publish_at=None)


def test_one_of_eight_unique_jobs_is_stored() -> None:
    for number in range(ROUNDS):
        outcomes = at_once(*[in_request(make, str(number))] * PARALLEL)
        assert names(outcomes) == {"Job": 1, "JobRunning": PARALLEL - 1}, outcomes
        (job,) = Job.objects.filter(parameters__index=str(number))
        assert {outcome.job_id for outcome in outcomes if not isinstance(outcome, Job)} == {job.pk}


def test_one_of_eight_unique_jobs_replaces_a_lost_one() -> None:
    for number in range(ROUNDS):
        silence(lost := make(str(number)))
        outcomes = at_once(*[in_request(make, str(number))] * PARALLEL)
        assert names(outcomes) == {"Job": 1, "JobRunning": PARALLEL - 1}, outcomes
        lost.refresh_from_db()
        assert (lost.state, lost.rank) == ("lost", states.RETRIED)


def test_one_of_eight_retries_creates_a_job() -> None:
    for number in range(ROUNDS):
        job = services.cancel_job(job=make(str(number)), actor=None)
        outcomes = at_once(*[in_request(services.retry_job, job=job.pk, actor=None)] * PARALLEL)
        assert names(outcomes) == {"Job": 1, "AlreadyRetried": PARALLEL - 1}, outcomes
        assert Job.objects.filter(retry_of=job.pk).count() == 1


def test_one_of_eight_messages_runs_a_job() -> None:
    ran: list[int] = []
    with temporary_job("once", lambda job: ran.append(job.attempt)):
        for _ in range(ROUNDS):
            job = services.enqueue("once", actor=None)
            at_once(*[partial(execution.run, job.pk, attempt=0, using="default")] * PARALLEL)
    assert ran == [1] * ROUNDS


def test_one_of_eight_deliveries_of_a_lost_job_continues_it() -> None:
    ran: list[int] = []
    with temporary_job("once", lambda job: ran.append(job.attempt)):
        for _ in range(ROUNDS):
            silence(job := services.enqueue("once", actor=None))
            deliver = partial(execution.run, job.pk, attempt=0, using="default", redelivered=True)
            at_once(*[deliver] * PARALLEL)
            assert not execution.abandon(job.pk, attempt=1, error=RuntimeError(), using="default")
            job.refresh_from_db()
            assert (job.state, job.attempt) == ("succeeded", 2)
    assert ran == [2] * ROUNDS


def test_start_and_cancellation_have_one_winner() -> None:
    """Either the job never runs, or its cancellation is a request that the running job reads."""
    for _ in range(ROUNDS):
        ran: list[int] = []
        with temporary_job("race", lambda job: ran.append(job.attempt)):  # noqa: B023  # of this round
            job = services.enqueue("race", actor=None)
            _, cancelled = at_once(
                partial(execution.run, job.pk, attempt=0, using="default"),
                in_request(services.cancel_job, job=job.pk, actor=None),
            )
        job.refresh_from_db()
        if job.state == "cancelled":
            assert (ran, job.attempt) == ([], 0)
            assert cancelled.state == "cancelled"
        else:
            assert (ran, job.state) == ([1], "succeeded")
            assert isinstance(cancelled, Job) is (job.cancel_requested_at is not None), cancelled


def test_finish_and_cancellation_have_one_winner() -> None:
    for _ in range(ROUNDS):
        barrier = threading.Barrier(2)

        def function(job: RunningJob) -> None:
            barrier.wait(60)  # noqa: B023  # of this round

        def cancel(job: Job) -> Job:
            barrier.wait(60)  # noqa: B023  # as above
            return services.cancel_job(job=job.pk, actor=None)

        with temporary_job("race", function):
            job = services.enqueue("race", actor=None)
            _, outcome = at_once(partial(execution.run, job.pk, attempt=0, using="default"), partial(cancel, job))
        job.refresh_from_db()
        assert job.state == "succeeded"
        # A request that came before the end stays visible. One that came after it is refused.
        expected = "Job" if job.cancel_requested_at is not None else "JobFinished"
        assert type(outcome).__name__ == expected, outcome


def test_sweeps_find_each_lost_job_once_and_publish_each_due_job_once() -> None:
    for number in range(ROUNDS):
        for index in range(5):
            silence(make(f"{number}-{index}"))
        due = [make(f"{number}-due-{index}") for index in range(5)]
        Job.objects.filter(pk__in=[job.pk for job in due]).update(publish_at=timezone.now())
        published.clear()
        reports = at_once(*[sweep.sweep] * PARALLEL)
        assert names(reports) == {"Report": PARALLEL}, reports
        assert sum(report.lost for report in reports) == 5
        assert sorted(published) == sorted(job.pk for job in due)
        Job.objects.update(publish_at=None)


def test_sweep_does_not_lose_a_job_whose_worker_returns() -> None:
    """A late heartbeat or outcome and the sweep: the first to write wins, and the other changes nothing."""
    for _ in range(ROUNDS):
        silence(job := make())
        job.refresh_from_db()
        finished, report = at_once(partial(execution._finish, job, "default", JobState.SUCCEEDED), partial(sweep.sweep))
        job.refresh_from_db()
        assert (finished, report.lost) in {(True, 0), (False, 1)}
        assert job.state == ("succeeded" if finished else "lost")
        Job.objects.all().delete()


def test_parallel_rollups_store_each_day_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    monkeypatch.setattr(days, "today", lambda: now.date())
    User.objects.create(username="ada", date_joined=now - timedelta(days=1))
    for _ in range(2):
        outcomes = at_once(*[partial(rollup.roll_up, names=["users.new"])] * PARALLEL)
        assert outcomes == [1] * PARALLEL
        points = MetricPoint.objects.filter(metric="users.new")
        assert (points.count(), sum(points.values_list("value", flat=True))) == (31, 1)
