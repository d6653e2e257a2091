"""Compiled queries, which return the same rows as the ORM's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from django.db import connection
from django.db.models import Manager, QuerySet
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIRequestFactory, force_authenticate

from dovetail_notify import get_notification_model
from dovetail_notify.api.pagination import CursorPagination
from dovetail_notify.api.views import NotificationViewSet
from dovetail_notify.inbox.reading import InboxFilter, Unread, count, inbox, inbox_of_key, page, unread_of
from tests.notify.factories import make_user

pytestmark = pytest.mark.django_db

LIST = "/api/v1/notifications/"
Notification: Any = get_notification_model()


@pytest.fixture(autouse=True)
def _nothing_is_compiled() -> Iterator[None]:
    with override_settings(SAMPLE=1):  # a changed setting clears the caches, before and after
        yield


@pytest.fixture
def people() -> list[Any]:
    """Two with the same notifications: of each organization and none, read and not, archived and not, of two types."""
    people = [make_user(), make_user()]
    now = timezone.now()
    Notification.objects.bulk_create(
        Notification(
            recipient=person,
            organization_key=organization,
            read_at=read,
            archived_at=archived,
            type=type_key,
            title="x",
            payload={"a": [1, None]},
            batch="0" * 32,
            created_at=now,
        )
        for person, organization, read, archived, type_key in product(
            people, (None, "1", "2", "3"), (None, now), (None, now), ("a", "b")
        )
    )
    return people


ORGANIZATIONS: list[list[str] | None] = [None, [], ["1"], ["1", "3"], list("1345678")]
LOOKUPS = [None, "lt", "lte", "gt", "gte"]
EXHAUSTIVE = os.environ.get("TESTS_EXHAUSTIVE") == "1"


def filters(organizations: list[str] | None, lookup: str | None) -> list[tuple[Any, ...]]:
    """Return the filters to compare: with ``TESTS_EXHAUSTIVE=1`` all 48, else every fifth.

    The five lookups of one list of organizations begin with different ones, and so do the five lists of one lookup.
    Hence every filter occurs with each lookup, each list and each bound.
    """
    asked = list(product((True, False), (None, True, False), (None, "a"), (None, (), ("b",), ("a", "b"))))
    return asked if EXHAUSTIVE else asked[(ORGANIZATIONS.index(organizations) + LOOKUPS.index(lookup)) % 5 :: 5]


@pytest.mark.parametrize("organizations", ORGANIZATIONS)
@pytest.mark.parametrize("bound", [None, "1"])
@pytest.mark.parametrize("lookup", LOOKUPS)
def test_compiled_page_equals_the_orms(people, organizations, bound, lookup, settings):
    settings.NOTIFY_ORGANIZATIONS = None if organizations is None else lambda user: organizations
    middle = Notification.objects.order_by("pk")[len(people) * 16].pk
    for archived, unread, type_key, types in filters(organizations, lookup):
        shown = InboxFilter(archived, unread, type_key, types)
        for person in people:  # the second with the query that was compiled for the first
            rows = shown.apply(inbox_of_key(person.pk, organizations, organization_key=bound))
            if lookup:
                rows = rows.filter(**{f"pk__{lookup}": middle})
            rows = rows.order_by("pk" if lookup in {"gt", "gte"} else "-pk")[:5]
            found = page(person, shown=shown, organization_key=bound, lookup=lookup, key=lookup and middle, limit=5)
            assert [vars(row) | {"_state": None} for row in found] == [vars(row) | {"_state": None} for row in rows]
            assert all((row._state.db, row._state.adding) == ("default", False) for row in found)


def test_organization_may_be_any_type_of_key(people, settings):
    settings.NOTIFY_ORGANIZATIONS = lambda user: [1, 2]
    person, shown = people[0], InboxFilter()
    unread = inbox(person, organization_key=1).filter(read_at=None)
    assert unread_of(person, organization_key=1) == Unread(unread.count(), False) == Unread(8, False)
    rows = shown.apply(inbox(person, organization_key=1)).order_by("-pk")
    assert page(person, shown=shown, organization_key=1, limit=50) == list(rows)
    assert count(person, shown=shown, organization_key=1, limit=50) == len(rows) == 8


def test_second_list_reuses_the_query_with_its_own_values(people, api, user, compiled):
    person, other = people
    request = APIRequestFactory().get(LIST, {"unread": "true"})
    view = NotificationViewSet.as_view({"get": "list"})
    seen = []
    for who in (person, other, user):
        force_authenticate(request, who)
        with CaptureQueriesContext(connection) as queries:
            seen.append({row["id"] for row in view(request).data["data"]})
        assert len(queries) == 1
    assert (len(seen[0]), len(seen[1]), seen[2]) == (8, 8, set())
    assert not seen[0] & seen[1]
    assert compiled == ["Notification"]


def test_custom_default_manager_is_asked_each_time(people, compiled, monkeypatch):
    class OfToday(Manager[Any]):
        type_key = "a"

        def get_queryset(self) -> QuerySet[Any]:
            return super().get_queryset().filter(type=self.type_key)

    manager = OfToday()
    manager.model, manager.name = Notification, "objects"
    monkeypatch.setitem(vars(Notification._meta), "default_manager", manager)
    for type_key in ("a", "b"):
        OfToday.type_key = type_key
        assert {row.type for row in page(people[0], shown=InboxFilter(), limit=50)} == {type_key}
    assert compiled == ["Notification"] * 2


def test_custom_queryset_and_paginator_are_used(people, user):
    class Two(CursorPagination):
        def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> list[Any]:
            return super().paginate_queryset(queryset.filter(type="b"), request, view)[:2]

    class Everybody(NotificationViewSet):
        def get_queryset(self) -> QuerySet[Any]:
            return Notification.objects.all()

    request = APIRequestFactory().get(LIST, {"limit": 100})
    force_authenticate(request, user)
    assert len(Everybody.as_view({"get": "list"})(request).data["data"]) == 2 * 4 * 2 * 2
    force_authenticate(request, people[0])
    with override_settings(NOTIFY_PAGINATION_CLASS=Two):
        answer = NotificationViewSet.as_view({"get": "list"})(request)
    assert [row["type"] for row in answer.data["data"]] == ["b", "b"]


def test_changed_setting_compiles_the_page_again(people, compiled):
    for _ in range(2):
        page(people[0], shown=InboxFilter(), limit=5)
    assert compiled == ["Notification"]
    with override_settings(TIME_ZONE="Asia/Kolkata"):
        page(people[0], shown=InboxFilter(), limit=5)
    assert compiled == ["Notification"] * 2


@pytest.mark.parametrize("organizations", [None, [], ["1", "3"], list("1345678")])
@pytest.mark.parametrize("bound", [None, "1"])
def test_compiled_unread_count_equals_the_orms(people, organizations, bound, settings, django_assert_num_queries):
    settings.NOTIFY_ORGANIZATIONS = None if organizations is None else lambda user: organizations
    for person in people:
        with django_assert_num_queries(1):
            found = unread_of(person, organization_key=bound)
        rows = inbox_of_key(person.pk, organizations, organization_key=bound).filter(read_at=None)
        assert found == (rows.count(), False)
        Notification.objects.bulk_create(
            Notification(recipient=person, title="x", batch="0" * 32, created_at=timezone.now()) for _ in range(100)
        )
        assert unread_of(person, organization_key=bound) == Unread(100, capped=True)


def test_custom_queryset_is_counted(people, user):
    class Everybody(NotificationViewSet):
        def get_queryset(self) -> QuerySet[Any]:
            return Notification.objects.all()

    request = APIRequestFactory().get(f"{LIST}unread-count/")
    force_authenticate(request, user)
    assert Everybody.as_view({"get": "unread_count"})(request).data == {"unread": 32, "capped": False}
    assert NotificationViewSet.as_view({"get": "unread_count"})(request).data == {"unread": 0, "capped": False}


@pytest.mark.parametrize("organizations", [None, [], ["1", "3"], list("1345678")])
@pytest.mark.parametrize("shown", [InboxFilter(), InboxFilter(unread=True, type="a"), InboxFilter(types=())])
def test_count_equals_the_number_of_rows(people, organizations, shown, settings):
    settings.NOTIFY_ORGANIZATIONS = None if organizations is None else lambda user: organizations
    expected = len(page(people[0], shown=shown, limit=50))
    with CaptureQueriesContext(connection) as queries:
        assert count(people[0], shown=shown, limit=50) == expected
    assert all("COUNT(" in query["sql"] for query in queries)
    assert count(people[0], shown=shown, limit=1) == min(1, expected)


def test_total_of_a_list_is_counted(people):
    class Counted(CursorPagination):
        def paginate(self, *args: Any, count: Any, **options: Any) -> list[Any]:
            self.total = count(5)
            return super().paginate(*args, **options)

        def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> list[Any]:
            raise NotImplementedError

    request = APIRequestFactory().get(LIST)
    force_authenticate(request, people[0])
    with override_settings(NOTIFY_PAGINATION_CLASS=Counted):
        assert NotificationViewSet.as_view({"get": "list"})(request).data["meta"]["total"] == 5
