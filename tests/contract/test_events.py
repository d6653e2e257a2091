"""``deprecated_operation.used``: one event for each request to a deprecated operation."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient, Client, override_settings

from dovetail_contract import events as contract_events
from dovetail_core import context
from dovetail_core.events import Event, domain_event

OLD = "GET /api/tickets/old"
README = Path(__file__).parents[2] / "packages/contract/README.md"
MIDDLEWARE = ["dovetail_contract.middleware.DeprecationMiddleware"]


class OrganizationMiddleware:
    """Binds the organization only during the view, as tenancy does."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        with context.bind(organization_id=9):
            return self.get_response(request)


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def events() -> Iterator[list[Event]]:
    received: list[Event] = []

    def receive(event: Event, **kwargs: Any) -> None:
        received.append(event)

    domain_event.connect(receive)
    yield received
    domain_event.disconnect(receive)


def get(path: str = "tickets/old", token: str = "ada.1") -> Any:
    return Client().get(f"/api/{path}", headers={"authorization": f"Bearer {token}"} if token else {})


def data(operation: str = OLD, kind: str = "nobody", prefix: str | None = None) -> dict[str, Any]:
    return {"operation": operation, "principal_kind": kind, "key_prefix": prefix}


def test_request_to_deprecated_operation_emits_an_event(ada: User, events: list[Event]) -> None:
    answers = [get() for _ in range(3)]
    assert [event.name for event in events] == ["deprecated_operation.used"] * 3
    assert [dict(event.data) for event in events] == [data(kind="user")] * 3
    assert [event.request_id for event in events] == [answer.headers["X-Request-ID"] for answer in answers]


def test_event_has_organization_principal_kind_and_key_prefix(ada: User, events: list[Event]) -> None:
    get(token="")
    with context.bind(organization_id=7):
        get()
        get(token="key.pub1")
    assert [event.organization_id for event in events] == [None, "7", "7"]
    assert [dict(event.data) for event in events] == [data(), data(kind="user"), data(kind="api_key", prefix="pub1")]


@pytest.mark.parametrize("query", ["", "?refuse=1"])
def test_event_has_the_organization_of_the_view(ada: User, events: list[Event], query: str) -> None:
    with override_settings(MIDDLEWARE=[*MIDDLEWARE, "tests.contract.test_events.OrganizationMiddleware"]):
        get(f"tickets/old{query}")
    assert [event.organization_id for event in events] == ["9"]


def test_operations_not_yet_deprecated_emit_nothing(events: list[Event]) -> None:
    future = {"since": "2126-01-01T00:00:00Z"}
    ended = {"since": "2024-01-01T00:00:00Z", "sunset": "2025-01-01T00:00:00Z"}
    for declared in (future, ended):
        with override_settings(CONTRACT_DEPRECATIONS={"/api/orders": declared}):
            get("orders", token="")
    get("orders", token="")
    assert events == []


def test_event_has_the_route_not_the_path(db: None, events: list[Event]) -> None:
    with override_settings(CONTRACT_DEPRECATIONS={"/api/": {"since": "2024-01-01T00:00:00Z"}}):
        for number in range(2):
            get(f"made-up-{number}", token="")
            get(f"items/{UUID(int=number)}", token="")
    assert [event.data["operation"] for event in events] == ["GET /api/items/<uuid:pk>"] * 2


def test_receiver_exception_is_logged_and_request_succeeds(ada: User, caplog: Any) -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError

    domain_event.connect(fail)
    try:
        assert get().status_code == 200
    finally:
        domain_event.disconnect(fail)
    (record,) = [record for record in caplog.records if record.name == "dovetail.deprecation"]
    assert record.exc_info is not None


def test_each_event_is_logged(ada: User, caplog: Any) -> None:
    with caplog.at_level(logging.INFO, logger="dovetail.events"):
        get(token="key.pub1")
    (record,) = [record for record in caplog.records if record.name == "dovetail.events"]
    assert (record.event, record.data) == ("deprecated_operation.used", data(kind="api_key", prefix="pub1"))


def test_event_needs_no_query(ada: User, django_assert_num_queries: Any) -> None:
    for since in ("2126-01-01T00:00:00Z", "2024-01-01T00:00:00Z"):
        declared = override_settings(CONTRACT_DEPRECATIONS={"/api/tickets/old": {"since": since}})
        with declared, django_assert_num_queries(1):  # the query of the test's authentication
            get()


@pytest.mark.django_db(transaction=True)
def test_receiver_can_use_the_database_under_asgi() -> None:
    User.objects.create_user("ada")
    counts: list[int] = []

    def count(**kwargs: Any) -> None:
        counts.append(User.objects.count())

    domain_event.connect(count)
    try:
        async_to_sync(AsyncClient().get)("/api/tickets/old", headers={"authorization": "Bearer ada.1"})
    finally:
        domain_event.disconnect(count)
    assert counts == [1]


def test_readme_names_every_event() -> None:
    assert contract_events.DEPRECATED_OPERATION_USED in re.findall(r"`(\w+\.\w+)`", README.read_text())
    assert f"\n{contract_events.DEPRECATED_OPERATION_USED} " in str(contract_events.__doc__)
