from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.signing import Signer
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework import generics, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from dovetail_tenancy import services
from dovetail_tenancy.api.pagination import CursorPagination
from tests.tenancy.factories import client_of, make_organization, make_user

pytestmark = pytest.mark.django_db

LIST = "/api/organizations"
FORWARD, BACK = "next", "prev"


class Page:
    def __init__(self, rows: Any, *, limit: int, cursor: str | None = None, path: str = "/groups") -> None:
        query: dict[str, Any] = {"limit": limit, **({"cursor": cursor} if cursor else {})}
        paginator = CursorPagination()
        self.keys = [row.pk for row in paginator.paginate_queryset(rows, Request(APIRequestFactory().get(path, query)))]
        response = paginator.get_paginated_response([])
        self.meta = response.data["meta"]
        self.link = response.headers.get("Link", "")


def walk(rows: Any, limit: int, way: str = FORWARD, cursor: str | None = None) -> tuple[list[list[Any]], Page]:
    page = Page(rows, limit=limit, cursor=cursor)
    pages = [page.keys]
    while page.meta[way]:
        page = Page(rows, limit=limit, cursor=page.meta[way])
        pages.append(page.keys)
    return pages, page


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(0, 25), limit=st.integers(1, 9))
def test_a_walk_meets_every_row_once_and_the_way_back_the_same(db: None, count: int, limit: int) -> None:
    with transaction.atomic():
        rows = Group.objects.all()
        expected = [Group.objects.create(name=f"group {n}").pk for n in range(count)][::-1]
        pages, last = walk(rows, limit)
        assert [key for page in pages for key in page] == expected
        assert all(len(page) == limit for page in pages[:-1])
        assert pages[-1] or not expected
        if last.meta[BACK]:
            back, first = walk(rows, limit, BACK, last.meta[BACK])
            assert [key for page in reversed(back) for key in page] + pages[-1] == expected
            assert all(len(page) == limit for page in back[:-1])
            assert first.keys
            assert first.meta[BACK] is None
            assert bool(first.meta[FORWARD])
        else:
            assert len(pages) == 1
        transaction.set_rollback(True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), count=st.integers(1, 15), limit=st.integers(1, 4))
def test_rows_that_come_and_go_between_pages_repeat_and_hide_none(
    db: None, data: st.DataObject, count: int, limit: int
) -> None:
    with transaction.atomic():
        rows, names = Group.objects.all(), iter(range(1000))
        for _ in range(count):
            Group.objects.create(name=str(next(names)))
        before, seen, cursor = set(rows.values_list("pk", flat=True)), [], None
        while True:
            page = Page(rows, limit=limit, cursor=cursor)
            seen += page.keys
            cursor = page.meta[FORWARD]
            if cursor is None:
                break
            for gone in data.draw(st.lists(st.sampled_from(sorted(before)), max_size=3)):
                rows.filter(pk=gone).delete()
            for _ in range(data.draw(st.integers(0, 2))):
                Group.objects.create(name=str(next(names)))
        assert len(seen) == len(set(seen))
        assert seen == sorted(seen, reverse=True)
        left = set(rows.values_list("pk", flat=True))
        assert before & left <= set(seen) <= before
        transaction.set_rollback(True)


@pytest.mark.parametrize("way", [FORWARD, BACK])
def test_a_page_that_lost_its_rows_leads_back_to_all_others(way: str) -> None:
    keys = [Group.objects.create(name=str(n)).pk for n in range(6)][::-1]
    first = Page(Group.objects.all(), limit=3)
    second = Page(Group.objects.all(), limit=3, cursor=first.meta[FORWARD])
    gone, left, cursor = (keys[3:], keys[:3], first.meta[FORWARD]) if way == FORWARD else (
        keys[:3], keys[3:], second.meta[BACK],
    )  # fmt: skip
    Group.objects.filter(pk__in=gone).delete()
    empty = Page(Group.objects.all(), limit=3, cursor=cursor)
    other = {FORWARD: BACK, BACK: FORWARD}[way]
    assert (empty.keys, empty.meta[way]) == ([], None)
    assert Page(Group.objects.all(), limit=3, cursor=empty.meta[other]).keys == left
    # And there and back again over the same empty page.
    Group.objects.all().delete()
    nothing = Page(Group.objects.all(), limit=3, cursor=empty.meta[other])
    assert nothing.keys == []
    again = Page(Group.objects.all(), limit=3, cursor=nothing.meta[way])
    assert (again.keys, again.meta[way]) == ([], None)


def test_keys_of_every_type_are_walked() -> None:
    ada = make_user()
    expected = [str(make_organization(owner=ada).pk) for _ in range(5)][::-1]
    seen, url = [], f"{LIST}?limit=2"
    while url:
        answer = client_of(ada).get(url)
        seen += [str(item["id"]) for item in answer.json()["data"]]
        found = re.search(r'<http://testserver([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        url = found[1] if found else ""
        assert bool(url) is bool(answer.json()["meta"]["next"])
    assert seen == expected


def test_links_carry_the_cursors_as_absolute_urls() -> None:
    ada = make_user()
    for _ in range(3):
        make_organization(owner=ada)
    client = client_of(ada)
    first = client.get(LIST, {"limit": 1, "q": "ä b"})
    middle = client.get(LIST, {"limit": 1, "cursor": first.json()["meta"]["next"]})
    assert first.json()["meta"]["prev"] is None
    assert re.fullmatch(r'<http://testserver/api/organizations\?[!-~]*q=%C3%A4\+b[!-~]*>; rel="next"', first["Link"])
    links = dict(reversed(link) for link in re.findall(r'<([^>]+)>; rel="(\w+)"', middle["Link"]))
    assert list(links) == ["next", "prev"]
    assert client.get(links["prev"]).json()["data"] == first.json()["data"]
    assert "Link" not in client.get(LIST).headers


@pytest.mark.parametrize("limit", ["0", "-1", "201", "", "x", "1.5", "1e1", " 5", "+5", "٣", "9" * 5000, "1\0"])
def test_a_limit_out_of_range_is_refused_not_clamped(limit: str) -> None:
    answer = client_of(make_user()).get(LIST, {"limit": limit})
    assert (answer.status_code, list(answer.json())) == (400, ["limit"])


@pytest.mark.parametrize("query", ["limit=1&limit=1", "cursor=a&cursor=a"])
def test_a_parameter_given_twice_is_refused(query: str) -> None:
    assert client_of(make_user()).get(f"{LIST}?{query}").status_code == 400


def test_a_page_has_fifty_items_unless_asked_for_up_to_two_hundred() -> None:
    Group.objects.bulk_create(Group(name=str(n)) for n in range(201))
    assert len(CursorPagination().paginate_queryset(Group.objects.all(), Request(APIRequestFactory().get("/")))) == 50
    assert len(Page(Group.objects.all(), limit=200).keys) == 200


def test_a_cursor_altered_or_of_another_list_is_refused() -> None:
    ada = make_user()
    organization, other = make_organization(owner=ada), make_organization(owner=ada)
    for shared in (organization, other):
        services.add_member(organization=shared, user=make_user(), role="member")
    client = client_of(ada)
    path = f"{LIST}/{organization.pk}/members"
    good = client.get(path, {"limit": 1}).json()["meta"]["next"]
    assert client.get(path, {"cursor": good}).status_code == 200
    for where, cursor in (
        (path, ""),
        (path, good[:-1] + ("a" if good[-1] != "a" else "b")),
        (path, "a" + good),
        (path, "x" * 5000),
        (path, "\0"),
        (path, "ä:ö"),
        (f"{LIST}/{other.pk}/members", good),
        (LIST, good),
    ):
        answer = client.get(where, {"cursor": cursor})
        assert (answer.status_code, list(answer.json())) == (400, ["cursor"])


def test_a_cursor_of_a_key_type_that_has_changed_is_refused() -> None:
    token = Signer(salt="dovetail_tenancy.cursor:/groups").sign_object(["lt", "not a number"])
    with pytest.raises(ValidationError):
        Page(Group.objects.all(), limit=1, cursor=token)


def test_the_cost_of_a_page_is_one_query_wherever_it_lies(django_assert_num_queries: Any) -> None:
    for n in range(9):
        Group.objects.create(name=str(n))
    cursor = None
    for _ in range(3):
        with django_assert_num_queries(1):
            cursor = Page(Group.objects.all(), limit=3, cursor=cursor).meta[FORWARD]


def test_it_paginates_any_view_of_a_project() -> None:
    class Row(serializers.ModelSerializer[Any]):
        class Meta:
            model = get_user_model()
            fields = ["pk"]

    class Users(generics.ListAPIView[Any]):
        queryset = get_user_model()._default_manager.order_by("username")
        serializer_class = Row
        pagination_class = CursorPagination
        permission_classes = ()

    users = [make_user() for _ in range(2)]
    answer = Users.as_view()(APIRequestFactory().get("/users"))
    assert answer.data["data"] == [{"pk": user.pk} for user in reversed(users)]
    assert CursorPagination().get_results(answer.data) == answer.data["data"]
