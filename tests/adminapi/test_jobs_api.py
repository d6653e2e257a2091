"""The section ``jobs`` of the admin API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from dovetail_adminapi.jobs import registry, services
from dovetail_adminapi.jobs.parameters import json_schema
from dovetail_adminapi.models import Job, JobState
from dovetail_core.events import Event
from tests.adminapi import work
from tests.adminapi.test_jobs import hold, start
from tests.adminapi.world import client, person

pytestmark = pytest.mark.django_db
JOBS = "/admin/v1/jobs"
VIEW, CANCEL, RETRY = (f"dovetail_adminapi.{name}_job" for name in ("view", "cancel", "retry"))
REBUILD = "dovetail_adminapi.run_job.rebuild"


@pytest.fixture(autouse=True)
def _setup(settings: Any) -> Iterator[None]:
    settings.ADMINAPI_JOBS = ["tests.adminapi.work"]
    settings.ADMINAPI_RUNNER = hold
    registry.load()
    work.calls.clear()
    yield
    work.calls.clear()


@pytest.fixture
def operator() -> Any:
    from dovetail_adminapi.catalogue.permissions import create_permissions

    create_permissions()
    return client(person("ada", VIEW, CANCEL, RETRY, REBUILD))


def post(api: Any, path: str, body: Any = None) -> Any:
    return api.post(path, {} if body is None else body, format="json")


def start_job(api: Any, **body: Any) -> Any:
    return post(api, JOBS, {"name": "rebuild", "parameters": {"index": "a"}, **body})


def pointers(response: Any) -> set[str]:
    return {error["pointer"] for error in response.json()["errors"]}


def test_job_is_accepted_and_read_at_its_location(operator: Any, events: list[Event]) -> None:
    response = start_job(operator, reason="drift")
    assert response.status_code == 202, response.content
    body = response.json()
    assert (body["state"], body["parameters"], body["reason"]) == ("queued", {"index": "a", "size": 10}, "drift")
    assert body["progress"] == {"done": None, "total": None, "text": ""}
    assert response["Location"] == f"http://testserver{JOBS}/{body['id']}"
    assert operator.get(response["Location"]).json() == body
    assert [event.name for event in events if event.name.startswith("admin_job")] == ["admin_job.enqueued"]
    (call,) = (event for event in events if event.name == "admin.succeeded" and event.data["method"] == "POST")
    assert call.data["parameters"]["body"] == {"name": "rebuild", "reason": "drift"}


@pytest.mark.parametrize(
    ("body", "code", "expected"),
    [
        ({"name": "os.system"}, "unknown_job", {"#/name"}),
        ({"name": "rebuild"}, "invalid", {"#/parameters/index"}),
        (
            {"name": "rebuild", "parameters": {"index": "a", "sice": 1, "size": 0}},
            "invalid",
            {"#/parameters/sice", "#/parameters/size"},
        ),
        ({"name": "rebuild", "parameters": []}, "invalid", {"#/parameters"}),
        ({"name": "rebuild", "task": "os.system"}, "invalid", {"#/task"}),
        ({}, "invalid", {"#/name"}),
    ],
)
def test_mistakes_in_a_request_have_pointers(operator: Any, body: Any, code: str, expected: set[str]) -> None:
    response = post(operator, JOBS, body)
    assert response.status_code == 400, response.content
    assert pointers(response) == expected
    if code == "unknown_job":
        assert response.json()["errors"][0]["code"] == code
    assert not Job.objects.exists()


def test_job_requires_its_own_permission(operator: Any) -> None:
    response = post(operator, JOBS, {"name": "call", "parameters": {"url": "u", "authorization": "s"}})
    assert response.status_code == 403
    assert response.json()["code"] == "permission_denied"
    response = client(person("flo", VIEW)).get(JOBS)
    assert response.status_code == 200
    assert client(person("bob", REBUILD)).get(JOBS).status_code == 403
    job = services.enqueue("call", {"url": "u", "authorization": "s"}, actor=None)
    assert post(operator, f"{JOBS}/{job.pk}/cancel").status_code == 403
    job.refresh_from_db()
    assert job.cancel_requested_at is None


def test_critical_job_requires_recent_sign_in_and_reason() -> None:
    staff = person("ada", VIEW, "auth.delete_user", is_staff=True)
    api = client(staff)
    response = post(api, JOBS, {"name": "delete"})
    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, "reason_required")
    assert post(api, JOBS, {"name": "delete", "reason": "spam"}).status_code == 202
    session = api.session
    session["_dovetail_adminapi_auth_time"] = 1
    session.save()
    response = post(api, JOBS, {"name": "delete", "reason": "spam"})
    assert (response.status_code, response.json()["code"]) == (401, "reauthentication_required")


def test_live_unique_job_is_a_conflict_with_its_id(operator: Any) -> None:
    first = start_job(operator).json()["id"]
    response = start_job(operator)
    assert (response.status_code, response.json()["code"], response.json()["job"]) == (409, "job_running", first)


def test_cancellation_is_repeatable_until_the_job_has_finished(operator: Any) -> None:
    path = f"{JOBS}/{start_job(operator).json()['id']}/cancel"
    for _ in range(2):
        response = post(operator, path)
        assert (response.status_code, response.json()["state"]) == (202, "cancelled")
    Job.objects.update(state=JobState.SUCCEEDED)
    response = post(operator, path)
    assert (response.status_code, response.json()["code"]) == (409, "job_finished")


def test_only_failed_jobs_are_retried(operator: Any) -> None:
    job = start_job(operator).json()["id"]
    response = post(operator, f"{JOBS}/{job}/retry")
    assert (response.status_code, response.json()["code"]) == (409, "job_not_retryable")
    post(operator, f"{JOBS}/{job}/cancel")
    response = post(operator, f"{JOBS}/{job}/retry", {"reason": "again"})
    assert (response.status_code, response.json()["retry_of"]) == (202, job)
    response = post(operator, f"{JOBS}/{job}/retry")
    assert (response.status_code, response.json()["code"]) == (409, "job_retried")


def test_silent_job_is_lost_for_readers(operator: Any) -> None:
    job = start(services.enqueue("rebuild", {"index": "a"}, actor=None))
    Job.objects.update(heartbeat_at=timezone.now() - timedelta(days=1))
    assert operator.get(f"{JOBS}/{job.pk}").json()["state"] == "lost"
    assert len(operator.get(JOBS, {"filter[state]": "lost"}).json()["data"]) == 1
    assert operator.get(JOBS, {"filter[state]": "running"}).json()["data"] == []


@pytest.mark.parametrize("key", ["1", "x", "definitions2", str(uuid4()), str(uuid4()).upper(), "%00"])
def test_key_of_no_job_is_not_found(operator: Any, key: str) -> None:
    assert operator.get(f"{JOBS}/{key}").status_code == 404
    assert post(operator, f"{JOBS}/{key}/cancel").status_code == 404


@pytest.mark.parametrize(
    "query", ["filter[state]=live", "filter[task]=x", "filter[name]=%00", "filter[name]=a&filter[name]=b", "limit=500"]
)
def test_invalid_filters_are_rejected(operator: Any, query: str) -> None:
    assert operator.get(f"{JOBS}?{query}").status_code == 400


def test_list_is_filtered_by_name_and_its_queries_do_not_grow(
    operator: Any, django_assert_max_num_queries: Any, settings: Any
) -> None:
    settings.ADMINAPI_RECORD_READS = False
    for number in range(30):
        services.enqueue("rebuild", {"index": str(number)}, actor=None)
    services.enqueue("delete", actor=None, reason="spam")
    with django_assert_max_num_queries(5):  # of which four read the session, the user and the permissions
        response = operator.get(JOBS, {"filter[name]": "rebuild"})
    assert len(response.json()["data"]) == 30


def test_definitions_describe_parameters(operator: Any) -> None:
    response = operator.get(f"{JOBS}/definitions")
    rows = {row["name"]: row for row in response.json()["data"]}
    assert (rows["rebuild"]["allowed"], rows["call"]["allowed"]) == (True, False)
    assert rows["rebuild"]["parameters"] == {
        "type": "object",
        "properties": {
            "index": {"type": "string", "maxLength": 20, "title": "Index"},
            "since": {"type": "string", "format": "date", "title": "Since"},
            "size": {"type": "integer", "minimum": 1, "title": "Size"},
        },
        "additionalProperties": False,
        "required": ["index"],
    }
    assert rows["call"]["parameters"]["properties"]["authorization"]["writeOnly"] is True
    assert json_schema(registry.get("delete"))["properties"] == {}
    assert rows["delete"]["reauthenticate"]
    assert rows["delete"]["killable"]
