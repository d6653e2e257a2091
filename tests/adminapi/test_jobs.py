"""Enqueuing, running, cancelling and retrying jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.utils import timezone
from rest_framework import serializers

from dovetail_adminapi.checks import check_jobs
from dovetail_adminapi.jobs import execution, parameters, registry, services, states, sweep
from dovetail_adminapi.jobs.exceptions import (
    AlreadyRetried,
    InvalidParameters,
    JobFinished,
    JobRunning,
    NotRetryable,
    ReasonRequired,
    TimedOut,
    UnknownJob,
)
from dovetail_adminapi.jobs.running import RunningJob
from dovetail_adminapi.models import Job, JobState
from dovetail_core.events import Event
from tests.adminapi import work
from tests.adminapi.work import temporary_job

pytestmark = pytest.mark.django_db
Capture = Callable[..., Any]


@pytest.fixture(autouse=True)
def _setup(settings: Any) -> Iterator[None]:
    settings.ADMINAPI_JOBS = ["tests.adminapi.work"]
    registry.load()
    work.calls.clear()
    published.clear()
    yield
    work.calls.clear()


published: list[tuple[UUID, int]] = []


def hold(job: Job, using: str) -> None:
    """A runner that does nothing, like a queue without a worker."""
    published.append((job.pk, job.attempt))


def refuse(job: Job, using: str) -> None:
    raise ConnectionRefusedError("amqp://guest:secret@localhost")


@pytest.fixture
def held(settings: Any) -> None:
    settings.ADMINAPI_RUNNER = hold


def enqueue(capture: Capture, name: str = "rebuild", values: Any = None, **options: Any) -> Job:
    with capture(execute=True):
        values = {"index": "a"} if values is None and name == "rebuild" else values
        job = services.enqueue(name, values, actor=options.pop("actor", "ada"), **options)
    job.refresh_from_db()
    return job


def start(job: Job) -> Job:
    """Take the row of a job as a worker does that does nothing more."""
    now = timezone.now()
    Job.objects.filter(pk=job.pk).update(
        state=JobState.RUNNING, rank=1, attempt=job.attempt + 1, started_at=now, heartbeat_at=now, publish_at=None
    )
    job.refresh_from_db()
    return job


def silence(job: Job, seconds: int = 301) -> Job:
    Job.objects.filter(pk=job.pk).update(heartbeat_at=timezone.now() - timedelta(seconds=seconds))
    job.refresh_from_db()
    return job


def run(job: Job, **options: Any) -> float | None:
    wait = execution.run(job.pk, attempt=job.attempt, using="default", **options)
    job.refresh_from_db()
    return wait


# Without the transaction of a test, in which progress waits for the commit.
@pytest.mark.django_db(transaction=True)
def test_immediate_runner_runs_job_after_commit(
    django_capture_on_commit_callbacks: Capture, events: list[Event]
) -> None:
    job = enqueue(django_capture_on_commit_callbacks, values={"index": "a", "since": "2026-01-31"}, reason=" drift ")
    assert work.calls == [("rebuild", {"index": "a", "size": 10, "since": date(2026, 1, 31)})]
    assert (job.state, job.rank, job.attempt, job.requested_by, job.reason) == ("succeeded", 2, 1, "ada", "drift")
    assert job.shown_parameters == {"index": "a", "since": "2026-01-31", "size": 10}
    assert job.result == {"documents": 10, "api_key": "[redacted]"}
    assert (job.progress_done, job.progress_total, job.progress_text) == (10, 10, "done")
    assert (job.live_key, job.publish_at) == (None, None)
    assert job.finished_at is not None
    assert [event.name for event in events] == ["admin_job.enqueued", "admin_job.finished"]
    assert events[1].data["state"] == "succeeded"
    assert events[0].data["parameters"] == job.shown_parameters


def test_rolled_back_job_does_not_run(django_capture_on_commit_callbacks: Capture) -> None:
    def fail() -> None:
        with transaction.atomic():
            services.enqueue("rebuild", {"index": "a"}, actor=None)
            raise RuntimeError

    with django_capture_on_commit_callbacks(execute=True), pytest.raises(RuntimeError):
        fail()
    assert work.calls == []
    assert not Job.objects.exists()


def test_enqueuing_takes_one_statement(django_assert_num_queries: Any, held: None, settings: Any) -> None:
    with django_assert_num_queries(3):  # two of them are the savepoint
        services.enqueue("call", {"url": "https://example.com", "authorization": "s3cret"}, actor=None)


@pytest.mark.parametrize(
    ("name", "values", "error"),
    [
        ("os.system", {}, UnknownJob),
        ("rebuild", {}, InvalidParameters),
        ("rebuild", {"index": "a", "sice": "2026-01-31"}, InvalidParameters),
        ("rebuild", {"index": "a" * 21}, InvalidParameters),
        ("rebuild", ["a"], InvalidParameters),
        ("delete", {"all": True}, InvalidParameters),
        ("delete", {}, ReasonRequired),
    ],
)
def test_invalid_job_is_not_stored(name: str, values: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        services.enqueue(name, values, actor=None)
    assert not Job.objects.exists()


def test_all_mistakes_in_parameters_are_listed() -> None:
    with pytest.raises(InvalidParameters) as caught:
        services.enqueue("rebuild", {"size": 0, "sice": 1}, actor=None)
    assert caught.value.errors.keys() == {"index", "size", "sice"}


def test_failure_has_no_secret_and_is_retried(django_capture_on_commit_callbacks: Capture) -> None:
    secrets = {"url": "https://example.com", "authorization": "abcdefgh12345678"}
    job = enqueue(django_capture_on_commit_callbacks, "call", secrets)
    assert (job.state, job.rank, job.attempt) == ("retrying", 1, 1)
    assert job.shown_parameters == {"url": "https://example.com", "authorization": "[redacted]"}
    assert job.error_type == "ConnectionError"
    assert "abcdefgh12345678" not in job.error_text
    assert job.started_at is not None
    assert job.publish_at is not None
    assert job.publish_at >= job.started_at + timedelta(seconds=30)
    assert sweep.sweep() == sweep.Report()
    Job.objects.update(publish_at=timezone.now())
    assert sweep.sweep() == sweep.Report(published=1)
    job.refresh_from_db()
    assert (job.state, job.attempt, len(work.calls)) == ("failed", 2, 2)
    assert work.calls[1] == ("call", secrets)


def test_one_live_job_of_a_unique_key(held: None) -> None:
    job = services.enqueue("rebuild", {"index": "a"}, actor=None)
    with pytest.raises(JobRunning) as caught:
        services.enqueue("rebuild", {"index": "a", "size": 5}, actor=None)
    assert caught.value.job_id == job.pk
    services.enqueue("rebuild", {"index": "A"}, actor=None)
    services.enqueue("rebuild", {"index": "a"}, actor=None, unique_key="another")
    services.cancel_job(job=job, actor=None)
    services.enqueue("rebuild", {"index": "a"}, actor=None)
    assert Job.objects.count() == 4


def test_job_that_finishes_meanwhile_does_not_stop_the_next(held: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that was in the way of an INSERT has released its key before it is read."""
    live, job = services._live, services.enqueue("rebuild", {"index": "a"}, actor=None)

    def finish(*args: Any) -> UUID | None:
        run(job)
        return live(*args)

    monkeypatch.setattr(services, "_live", finish)
    again = services.enqueue("rebuild", {"index": "a"}, actor=None)
    assert (job.state, again.state) == ("succeeded", "queued")


def test_lost_job_gives_its_unique_key_to_the_next(held: None, events: list[Event]) -> None:
    job = silence(start(services.enqueue("rebuild", {"index": "a"}, actor=None)))
    services.enqueue("rebuild", {"index": "a"}, actor=None)
    job.refresh_from_db()
    assert (job.state, job.rank, job.live_key) == ("lost", states.RETRIED, None)
    assert [event.name for event in events] == ["admin_job.enqueued", "admin_job.finished", "admin_job.enqueued"]
    # Also if the broker delivers the lost job again.
    assert run(job, redelivered=True) is None
    assert work.calls == []


def test_second_message_changes_nothing(held: None) -> None:
    job = services.enqueue("rebuild", {"index": "a"}, actor=None)
    run(job)
    finished = job.finished_at
    assert execution.run(job.pk, attempt=0, using="default") is None
    assert execution.run(job.pk, attempt=1, using="default", redelivered=True) is None
    job.refresh_from_db()
    assert (job.finished_at, job.attempt, len(work.calls)) == (finished, 1, 1)


def test_queued_job_is_cancelled_at_once(held: None, events: list[Event]) -> None:
    job = services.enqueue("rebuild", {"index": "a"}, actor=None)
    for _ in range(2):
        assert services.cancel_job(job=job.pk, actor="bob").state == "cancelled"
    run(job)
    assert (job.state, work.calls) == ("cancelled", [])
    assert [(event.name, event.actor) for event in events][1:] == [("admin_job.cancelled", "bob")]


def test_running_job_stops_when_it_looks(held: None, events: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunningJob, "interval", 0)
    reached = []

    def function(job: RunningJob) -> None:
        job.check_cancelled()
        assert services.cancel_job(job=job.id, actor=None).state == "running"
        assert services.cancel_job(job=job.id, actor=None).cancel_requested_at is not None
        reached.append("before")
        job.check_cancelled()
        reached.append("after")

    with temporary_job("slow", function):
        job = services.enqueue("slow", actor=None)
        run(job)
    assert (job.state, reached) == ("cancelled", ["before"])
    assert [event.name for event in events][-1] == "admin_job.cancelled"


def test_finished_job_is_not_cancelled(held: None) -> None:
    job = services.enqueue("rebuild", {"index": "a"}, actor=None)
    run(job)
    with pytest.raises(JobFinished, match="succeeded"):
        services.cancel_job(job=job, actor=None)
    lost = silence(start(services.enqueue("rebuild", {"index": "b"}, actor=None)))
    with pytest.raises(JobFinished, match="lost"):
        services.cancel_job(job=lost, actor=None)


def test_retry_creates_one_new_job(held: None, events: list[Event]) -> None:
    job = services.enqueue("rebuild", {"index": "a"}, actor=None)
    with pytest.raises(NotRetryable, match="queued"):
        services.retry_job(job=job, actor=None)
    silence(start(job))
    again = services.retry_job(job=job, actor="bob", reason="worker died")
    assert (again.retry_of, again.parameters, again.reason) == (job.pk, job.parameters, "worker died")
    with pytest.raises(AlreadyRetried):
        services.retry_job(job=job, actor=None)
    with pytest.raises(JobRunning):
        services.enqueue("rebuild", {"index": "a"}, actor=None)
    run(again)
    assert again.state == "succeeded"
    with pytest.raises(NotRetryable, match="succeeded"):
        services.retry_job(job=again, actor=None)
    assert run(job, redelivered=True) is None
    assert len(work.calls) == 1


def test_retry_of_a_job_that_requires_a_reason(held: None) -> None:
    job = services.enqueue("delete", actor=None, reason="spam")
    services.cancel_job(job=job, actor=None)
    with pytest.raises(ReasonRequired):
        services.retry_job(job=job, actor=None)


def test_silent_job_is_lost_and_shown_so_before_the_sweep(held: None, events: list[Event]) -> None:
    job = start(services.enqueue("rebuild", {"index": "a"}, actor=None))
    silence(job, 200)
    assert (states.shown_state(job), sweep.sweep().lost) == ("running", 0)
    silence(job)
    assert states.shown_state(job) == "lost"
    assert Job.objects.filter(states.in_state("lost")).get() == job
    assert not Job.objects.filter(states.in_state("running")).exists()
    assert (sweep.sweep().lost, sweep.sweep().lost) == (1, 0)
    job.refresh_from_db()
    assert (job.state, job.rank) == ("lost", 2)
    assert [event.data["state"] for event in events if event.name == "admin_job.finished"] == ["lost"]


def test_silent_job_with_retries_gets_another_attempt(held: None) -> None:
    job = silence(start(services.enqueue("call", {"url": "u", "authorization": "s"}, actor=None)))
    assert sweep.sweep() == sweep.Report(lost=1, published=1)
    job.refresh_from_db()
    assert (job.state, published) == ("retrying", [(job.pk, 1)])
    run(job)
    assert (job.state, job.attempt) == ("failed", 2)


def test_redelivered_job_waits_for_its_lease_and_continues(held: None) -> None:
    job = start(services.enqueue("rebuild", {"index": "a"}, actor=None))
    assert job.heartbeat_at is not None
    longest = (job.heartbeat_at - states.cutoff()).total_seconds() + 1
    wait = execution.run(job.pk, attempt=0, using="default", redelivered=True)
    assert wait is not None
    assert (job.heartbeat_at - states.cutoff()).total_seconds() + 1 <= wait <= longest
    silence(job)
    assert execution.run(job.pk, attempt=0, using="default") is None
    assert work.calls == []
    assert execution.run(job.pk, attempt=0, using="default", redelivered=True) is None
    job.refresh_from_db()
    assert (job.state, job.attempt, len(work.calls)) == ("succeeded", 2, 1)


def test_job_that_kills_its_workers_is_not_redelivered_forever(held: None) -> None:
    job = services.enqueue("rebuild", {"index": "a"}, actor=None)
    Job.objects.filter(pk=job.pk).update(state=JobState.LOST, rank=2, attempt=4)
    execution.run(job.pk, attempt=0, using="default", redelivered=True)
    job.refresh_from_db()
    assert (job.state, work.calls) == ("lost", [])


def test_progress_within_a_transaction_locks_no_row(held: None, django_assert_num_queries: Any) -> None:
    counted = []

    def function(job: RunningJob) -> None:
        with django_assert_num_queries(0):
            job.progress(1, 2)
        counted.append(1)

    with temporary_job("slow", function):
        run(services.enqueue("slow", actor=None))
    assert counted == [1]


@pytest.mark.django_db(transaction=True)
def test_attempt_that_was_taken_over_writes_nothing(held: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunningJob, "interval", 0)
    reached = []

    def function(job: RunningJob) -> str:
        # Another worker begins the next attempt.
        Job.objects.filter(pk=job.id).update(attempt=2)
        reached.append(job.attempt)
        job.progress(1)
        reached.append(0)
        return "late"

    with temporary_job("slow", function):
        job = services.enqueue("slow", actor=None)
        run(job)
    assert (job.state, job.attempt, job.result, job.progress_done) == ("running", 2, None, None)
    assert reached == [1]


def test_late_outcome_of_an_earlier_attempt_is_dropped(held: None) -> None:
    def function(job: RunningJob) -> str:
        Job.objects.filter(pk=job.id).update(attempt=2)
        return "late"

    with temporary_job("slow", function):
        job = services.enqueue("slow", actor=None)
        run(job)
    assert (job.state, job.result) == ("running", None)
    assert not execution.abandon(job.pk, attempt=1, error=RuntimeError(), using="default")
    assert execution.abandon(job.pk, attempt=2, error=RuntimeError("killed"), using="default")
    job.refresh_from_db()
    assert (job.state, job.error_type, job.error_text) == ("failed", "RuntimeError", "killed")


def test_job_ends_after_its_timeout(held: None) -> None:
    def function(job: RunningJob) -> None:
        job._deadline = 0
        with pytest.raises(TimedOut):
            job.progress(1)
        job.check_cancelled()

    with temporary_job("slow", function, retries=3):
        job = services.enqueue("slow", actor=None)
        run(job)
    assert (job.state, job.error_type) == ("failed", "TimedOut")


def test_failed_publication_is_repeated_by_the_sweep(
    settings: Any, django_capture_on_commit_callbacks: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ADMINAPI_RUNNER = refuse
    job = enqueue(django_capture_on_commit_callbacks)
    assert job.state == "queued"
    assert "secret" not in caplog.text
    Job.objects.update(publish_at=timezone.now())
    assert sweep.sweep() == sweep.Report()
    settings.ADMINAPI_RUNNER = hold
    Job.objects.update(publish_at=timezone.now())
    assert (sweep.sweep().published, sweep.sweep().published) == (1, 0)
    assert published == [(job.pk, 0)]


def test_removed_job_fails_with_its_name(held: None) -> None:
    with temporary_job("old", lambda job: None):
        job = services.enqueue("old", actor=None)
    run(job)
    assert (job.state, job.error_type) == ("failed", "UnknownJob")


def test_large_result_is_replaced_by_its_size(held: None) -> None:
    with temporary_job("large", lambda job: {str(number): "x" * 900 for number in range(20)}):
        job = services.enqueue("large", actor=None)
        run(job)
    assert (job.state, list(job.result or {})) == ("succeeded", ["truncated"])


def test_job_runs_in_the_context_of_the_project(held: None, settings: Any) -> None:
    entered = []

    class Context:
        def __init__(self, request: object) -> None:
            entered.append(request)

        def __enter__(self) -> None: ...
        def __exit__(self, *args: object) -> None: ...

    settings.ADMINAPI_CONTEXT = Context
    run(services.enqueue("rebuild", {"index": "a"}, actor=None))
    assert entered == [None]


def test_times_are_aware() -> None:
    assert states.cutoff(datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2025, 12, 31, 23, 55, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("Rebuild search", {}, "lower-case"),
        ("x" * 93, {}, "at most 92"),
        ("other", {"parameters": dict}, "serializer class"),
        ("rebuild", {}, "are both the job 'rebuild'"),
    ],
)
def test_mistake_in_a_job_is_a_problem(monkeypatch: pytest.MonkeyPatch, name: str, options: Any, text: str) -> None:
    registry.load()
    monkeypatch.setattr(registry, "_problems", [])
    registry.admin_job(name, **options)(lambda job: None)
    (error,) = check_jobs()
    assert error.id == "dovetail_adminapi.E008"
    assert text in error.msg
    assert registry.get("rebuild").function is work.rebuild


def test_permissions_of_jobs_are_declared() -> None:
    labels = registry.permissions()
    assert labels["run_job.rebuild"] == "Can run the job rebuild"
    # It has a permission of the project.
    assert "run_job.delete" not in labels


def test_nested_parameters_are_described_and_unknown_ones_rejected() -> None:
    class Address(serializers.Serializer[Any]):
        city = serializers.CharField(allow_null=True, help_text="Without postal code.")
        kind = serializers.ChoiceField(["home", "work"])

    class Parameters(serializers.Serializer[Any]):
        address = Address()
        tags = serializers.ListField(child=serializers.CharField(), required=False)
        now = serializers.HiddenField(default=1)

    with temporary_job("nested", lambda job, **values: None, parameters=Parameters):
        definition = registry.get("nested")
        with pytest.raises(InvalidParameters) as caught:
            parameters.validate(definition, {"address": {"city": None, "kind": "home", "zip": 1}, "now": 2})
        arguments, stored, _ = parameters.validate(definition, {"address": {"city": None, "kind": "home"}})
        schema = parameters.json_schema(definition)
    assert caught.value.errors.keys() == {"address", "now"}
    assert caught.value.errors["address"].keys() == {"zip"}
    assert arguments == {"address": {"city": None, "kind": "home"}, "now": 1}
    assert stored == {"address": {"city": None, "kind": "home"}}
    assert schema["properties"]["address"]["properties"]["city"] == {
        "type": ["string", "null"],
        "title": "City",
        "description": "Without postal code.",
    }
    assert schema["properties"]["address"]["properties"]["kind"]["enum"] == ["home", "work"]
    assert schema["properties"]["tags"]["items"] == {"type": "string"}
    assert "now" not in schema["properties"]
