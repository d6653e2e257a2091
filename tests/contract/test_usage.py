"""Deprecated operations are counted by who uses them, and the counts handed on in one call for many requests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient, Client, override_settings

from dovetail_contract import usage
from dovetail_contract.usage import Usage
from dovetail_core import context

OLD = "GET /api/tickets/old"
taken: list[list[Usage]] = []


def take(usages: list[Usage]) -> None:
    taken.append(usages)


@pytest.fixture(autouse=True)
def _nothing_counted() -> Iterator[None]:
    usage.forget()
    taken.clear()
    with override_settings(CONTRACT_DEPRECATED_USAGE="tests.contract.test_usage.take"):
        yield
    usage.forget()


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada")


def get(path: str = "tickets/old", token: str = "ada.1") -> Any:
    return Client().get(f"/api/{path}", headers={"authorization": f"Bearer {token}"} if token else {})


def told() -> list[Usage]:
    usage.hand_on()
    return [each for usages in taken for each in usages]


def test_the_first_use_is_told_at_once_and_the_rest_together(ada: User) -> None:
    get()
    assert taken == [[Usage(OLD, None, "user", None, 1)]]
    for _ in range(3):
        get()
    assert len(taken) == 1
    assert told()[1:] == [Usage(OLD, None, "user", None, 3)]


def test_it_is_told_again_after_a_while(ada: User, monkeypatch: Any) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(usage, "time", SimpleNamespace(monotonic=lambda: clock.now))
    for clock.now, calls in ((1000.0, 1), (1059.0, 1), (1060.0, 2)):
        get()
        assert len(taken) == calls
    assert taken[1] == [Usage(OLD, None, "user", None, 2)]


def test_callers_are_told_apart_by_organization_kind_and_key(ada: User) -> None:
    get(token="")
    get()
    with context.bind(organization_id=7):
        get()
        get(token="key.pub1")
        get(token="key.pub2")
        get(token="key.pub2")
    assert sorted(told(), key=str) == sorted(
        [
            Usage(OLD, None, "nobody", None, 1),
            Usage(OLD, None, "user", None, 1),
            Usage(OLD, "7", "user", None, 1),
            Usage(OLD, "7", "api_key", "pub1", 1),
            Usage(OLD, "7", "api_key", "pub2", 2),
        ],
        key=str,
    )


@pytest.mark.parametrize("how", ["answered", "refused"])
def test_the_organization_is_that_of_the_view_though_it_is_taken_back_behind_it(ada: User, how: str) -> None:
    with override_settings(MIDDLEWARE=[*MIDDLEWARE, "tests.contract.test_usage.OrganizationMiddleware"]):
        get("tickets/old" if how == "answered" else "tickets/old?refuse=1")
    assert [each.organization_id for each in told()] == ["9"]


MIDDLEWARE = ["dovetail_contract.middleware.DeprecationMiddleware"]


class OrganizationMiddleware:
    """As a tenancy's: the organization is there for the view, and no more for who stands around."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        with context.bind(organization_id=9):
            return self.get_response(request)


def test_what_is_not_deprecated_or_not_yet_or_no_more_is_not_counted() -> None:
    times = {"since": "2126-01-01T00:00:00Z"}, {"since": "2024-01-01T00:00:00Z", "sunset": "2025-01-01T00:00:00Z"}
    for declared in times:
        with override_settings(CONTRACT_DEPRECATIONS={"/api/orders": declared}):
            get("orders", token="")
    get("orders", token="")
    assert told() == []


def test_paths_that_are_made_up_do_not_count(db: None) -> None:
    with override_settings(CONTRACT_DEPRECATIONS={"/api/": {"since": "2024-01-01T00:00:00Z"}}):
        for number in range(3):
            get(f"made-up-{number}", token="")
            get(f"items/{UUID(int=number)}", token="")
    assert [replace(each, count=0) for each in told()] == [Usage("GET /api/items/<uuid:pk>", None, "nobody", None)] * 2
    assert sum(each.count for usages in taken for each in usages) == 3


def test_a_taker_that_fails_is_logged_and_the_request_answered(ada: User, caplog: Any) -> None:
    with override_settings(CONTRACT_DEPRECATED_USAGE=lambda usages: 1 / 0):
        assert get().status_code == 200
    (line,) = [record for record in caplog.records if record.name == "dovetail.deprecation"]
    assert line.exc_info is not None


def test_none_counts_none(ada: User) -> None:
    with override_settings(CONTRACT_DEPRECATED_USAGE=None):
        get()
    assert told() == []


def test_by_default_each_count_is_a_line_of_the_log(ada: User, caplog: Any) -> None:
    by_default = override_settings(CONTRACT_DEPRECATED_USAGE="dovetail_contract.usage.log")
    with by_default, caplog.at_level(logging.INFO, logger="dovetail.deprecation"):
        get(token="key.pub1")
    (line,) = [record for record in caplog.records if record.name == "dovetail.deprecation"]
    assert line.getMessage() == f"{OLD} is deprecated, and was used 1 times"
    assert line.usage == {
        "operation": OLD,
        "organization_id": None,
        "principal_kind": "api_key",
        "api_key": "pub1",
        "count": 1,
    }


def test_many_callers_are_handed_on_before_they_fill_the_memory(ada: User, monkeypatch: Any) -> None:
    monkeypatch.setattr(usage, "_MOST", 3)
    get(token="")
    for number in range(6):
        get(token=f"key.pub{number}")
    assert [len(usages) for usages in taken] == [1, 3, 3]


def test_it_costs_no_query(ada: User, django_assert_num_queries: Any) -> None:
    get()
    for since in ("2126-01-01T00:00:00Z", "2024-01-01T00:00:00Z"):
        declared = override_settings(CONTRACT_DEPRECATIONS={"/api/tickets/old": {"since": since}})
        with declared, django_assert_num_queries(1):  # of the test's own authentication
            get()


@pytest.mark.django_db(transaction=True)
def test_a_taker_may_use_the_database_under_asgi_as_well() -> None:
    """Which refuses to be asked from the event loop."""
    User.objects.create_user("ada")
    found: list[int] = []
    with override_settings(CONTRACT_DEPRECATED_USAGE=lambda usages: found.append(User.objects.count())):
        async_to_sync(AsyncClient().get)("/api/tickets/old", headers={"authorization": "Bearer ada.1"})
    assert found == [1]
