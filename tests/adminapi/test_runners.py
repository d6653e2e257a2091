"""The runners of Celery and of Django's tasks, in this process. Real workers are in ``parallel/``."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import django
import pytest

from dovetail_adminapi.jobs import services, sweep
from dovetail_adminapi.models import Job, MetricState
from tests.adminapi import work
from tests.adminapi.test_jobs import hold, silence, start

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _setup(settings: Any) -> Iterator[None]:
    settings.ADMINAPI_JOBS = ["tests.adminapi.work"]
    settings.ADMINAPI_RUNNER = hold
    work.calls.clear()
    yield
    work.calls.clear()


def make() -> Job:
    return services.enqueue("rebuild", {"index": "a"}, actor=None)


@pytest.fixture
def celery() -> Iterator[Any]:
    pytest.importorskip("celery", reason="Celery is not installed")
    from celery import Celery

    app = Celery("adminapi", broker="memory://", set_as_current=True)
    app.set_default()
    app.conf.task_always_eager = True
    from dovetail_adminapi.contrib import celery as module

    yield module
    app.close()


def test_celery_runs_a_job_once(celery: Any) -> None:
    job = make()
    for _ in range(2):
        celery.run(job, "default")
    job.refresh_from_db()
    assert (job.state, job.attempt, len(work.calls)) == ("succeeded", 1, 1)


def test_message_has_the_id_and_the_time_limits_of_its_job(celery: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = {}
    monkeypatch.setattr(celery.run_job, "apply_async", lambda args, **options: sent.update(options, args=args))
    job = make()
    celery.run(job, "default")
    assert sent["args"] == (str(job.pk), 0, "default")
    assert (sent["task_id"], sent["soft_time_limit"], sent["time_limit"]) == (str(job.pk), 3605, 3660)
    # Events and logs of Celery show no parameters.
    assert sent["argsrepr"] == "(…)"


def test_killed_process_of_a_pool_is_a_failure(celery: Any) -> None:
    job = start(make())
    arguments = (str(job.pk), 0, "default")
    celery.on_failure(sender=SimpleNamespace(name="another"), args=arguments, exception=RuntimeError("killed"))
    # The signal of an earlier attempt.
    Job.objects.update(attempt=2)
    celery.on_failure(sender=celery.run_job, args=arguments, exception=RuntimeError("killed"))
    job.refresh_from_db()
    assert job.state == "running"
    Job.objects.update(attempt=1)
    celery.on_failure(sender=celery.run_job, args=arguments, exception=RuntimeError("killed"))
    job.refresh_from_db()
    assert (job.state, job.error_type, job.error_text) == ("failed", "RuntimeError", "killed")


def test_terminated_process_is_a_cancellation(celery: Any) -> None:
    job = start(make())
    request = SimpleNamespace(id=str(job.pk))
    celery.on_revoked(sender=celery.run_job, request=request, terminated=True)
    job.refresh_from_db()
    assert job.state == "running"  # terminated by someone else: its lease will end
    services.cancel_job(job=job, actor=None)
    celery.on_revoked(sender=celery.run_job, request=request, terminated=False)
    celery.on_revoked(sender=celery.run_job, request=request, terminated=True)
    job.refresh_from_db()
    assert job.state == "cancelled"


def test_cancellation_of_a_killable_job_ends_its_process(
    celery: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    revoked = []
    monkeypatch.setattr(celery, "publish", lambda send: revoked.append(send))
    job = start(services.enqueue("delete", actor=None, reason="spam"))
    plain = start(make())
    settings.ADMINAPI_RUNNER = "dovetail_adminapi.contrib.celery.run"
    with django_capture_on_commit_callbacks(execute=True):
        services.cancel_job(job=plain, actor=None)
    assert revoked == []
    with django_capture_on_commit_callbacks(execute=True):
        services.cancel_job(job=job, actor=None)
    assert len(revoked) == 1


def test_scheduled_tasks_sweep_and_roll_up(celery: Any) -> None:
    job = silence(start(make()))
    celery.sweep.delay()
    job.refresh_from_db()
    assert job.state == "lost"
    celery.roll_up_metrics.delay()
    assert MetricState.objects.filter(pk="users.new").exists()


@pytest.mark.skipif(django.VERSION < (6, 0), reason="this Django has no tasks")
def test_django_tasks_run_jobs_sweep_and_roll_up(settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    from dovetail_adminapi.contrib import tasks

    job = make()
    tasks.run(job, "default")
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("succeeded", 1)
    silence(start(services.enqueue("rebuild", {"index": "b"}, actor=None)))
    tasks.sweep.enqueue()
    assert Job.objects.filter(state="lost").count() == 1
    assert sweep.sweep().lost == 0
    tasks.roll_up_metrics.enqueue()
    assert MetricState.objects.filter(pk="users.new").exists()
