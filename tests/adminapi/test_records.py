from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import override_settings

from dovetail_core.events import Event, domain_event
from tests.adminapi.world import ADMIN, client, person

pytestmark = pytest.mark.django_db


def names(events: list[Event]) -> list[tuple[str, Any, Any]]:
    return [(event.name, event.data["status"], event.data["problem"]) for event in events]


def test_write_is_recorded_with_its_parameters(events: list[Event]) -> None:
    group = Group.objects.create(name="old")
    editor = person("editor", "auth.change_group")
    body = {"name": "new", "password": "hunter2", "note": "x"}
    assert client(editor).post(f"{ADMIN}groups/{group.pk}/rename?token=abc", body).status_code == 200
    (event,) = events
    assert (event.name, event.actor, event.organization_id) == ("admin.succeeded", editor, None)
    data = dict(event.data)
    assert data.pop("milliseconds") >= 0
    assert data == {
        "operation": "group.rename",
        "method": "POST",
        "path": f"/admin/v1/groups/{group.pk}/rename",
        "permission": "auth.change_group",
        "via": "permission",
        # The view declares that records show the name.
        "parameters": {"path": {"pk": group.pk}, "query": {"token": "[redacted]"}, "body": {"name": "new"}},
        "status": 200,
        "problem": None,
        "support_access": None,
    }


def test_undeclared_parameters_are_recorded_without_secrets(events: list[Event]) -> None:
    creator = person("creator", "auth.add_group")
    body = {"name": "new", "password": "hunter2", "nested": {"api_key": "k"}}
    assert client(creator).post(f"{ADMIN}groups", body).status_code == 201
    shown = events[0].data["parameters"]["body"]
    assert shown == {"name": "new", "password": "[redacted]", "nested": {"api_key": "[redacted]"}}


def test_record_of_a_write_belongs_to_its_transaction() -> None:
    depths: list[bool] = []

    def refuse(event: Event, **kwargs: object) -> None:
        depths.append(connection.in_atomic_block)
        raise RuntimeError("the log is full")

    domain_event.connect(refuse)
    try:
        api = client(person("creator", "auth.add_group"), raise_request_exception=False)
        assert api.post(f"{ADMIN}groups", {"name": "new"}).status_code == 500
    finally:
        domain_event.disconnect(refuse)
    assert not Group.objects.exists()
    assert depths[0] is True


def test_refusals_are_recorded_with_their_problem(events: list[Event]) -> None:
    assert client().get(f"{ADMIN}groups").status_code == 401
    assert client(person()).post(f"{ADMIN}groups", {"name": "x"}).status_code == 403
    assert client(person("root", is_superuser=True)).put(f"{ADMIN}groups/1").status_code == 403
    assert names(events) == [
        ("admin.denied", 401, "not_authenticated"),
        ("admin.denied", 403, "permission_denied"),
        ("admin.denied", 403, "permission_denied"),
    ]
    # A refused body is not parsed.
    assert "body" not in events[1].data["parameters"]
    assert events[2].data["operation"] == "group.update"


def test_failures_are_no_refusals(events: list[Event]) -> None:
    viewer = client(person("viewer", "auth.view_group", "auth.add_group"))
    assert viewer.get(f"{ADMIN}groups/4711").status_code == 404
    assert viewer.post(f"{ADMIN}groups", {"name": ""}).status_code == 400
    assert viewer.patch(f"{ADMIN}groups").status_code == 405
    assert names(events) == [
        ("admin.failed", 404, "not_found"),
        ("admin.failed", 400, "invalid"),
        ("admin.failed", 405, "method_not_allowed"),
    ]


@pytest.mark.parametrize("record", [True, False])
def test_reads_are_recorded_unless_switched_off(record: bool, events: list[Event]) -> None:
    with override_settings(ADMINAPI_RECORD_READS=record):
        assert client(person("viewer", "auth.view_group")).get(f"{ADMIN}groups").status_code == 200
    assert [event.name for event in events] == ["admin.succeeded"] * record


def test_read_that_cannot_be_recorded_is_not_shown() -> None:
    def refuse(event: Event, **kwargs: object) -> None:
        raise RuntimeError("the log is full")

    api = client(person("viewer", "auth.view_group"), raise_request_exception=False)
    domain_event.connect(refuse)
    try:
        assert api.get(f"{ADMIN}groups").status_code == 500
        assert client().get(f"{ADMIN}groups").status_code == 401
    finally:
        domain_event.disconnect(refuse)


def test_large_parameters_leave_only_their_names(events: list[Event]) -> None:
    query = "&".join(f"a{number}={'x' * 900}" for number in range(12))
    assert client(person()).get(f"{ADMIN}groups?{query}").status_code == 403
    assert events[0].data["parameters"] == {"query": {"names": [f"a{number}" for number in range(12)]}}


@pytest.mark.django_db(transaction=True)
def test_refusals_outlive_atomic_requests(atomic_requests: None) -> None:
    """REST framework rolls the transaction back for every exception. A row stands for the entry of an audit log."""

    def store(event: Event, **kwargs: object) -> None:
        Group.objects.create(name=event.name)

    domain_event.connect(store)
    try:
        assert client(person("other")).get(f"{ADMIN}groups").status_code == 403
    finally:
        domain_event.disconnect(store)
    assert list(Group.objects.values_list("name", flat=True)) == ["admin.denied"]


@pytest.fixture
def atomic_requests(settings: Any) -> Any:
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    yield
    connection.settings_dict["ATOMIC_REQUESTS"] = False


def test_refusal_is_recorded_without_the_middleware(events: list[Event], settings: Any) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "adminapi" not in name]
    response = client().get(f"{ADMIN}groups")
    assert (response.status_code, response.headers["Cache-Control"]) == (401, "no-store")
    assert names(events) == [("admin.denied", 401, "not_authenticated")]
