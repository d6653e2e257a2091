from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.signing import Signer
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("rest_framework", reason="REST framework is not installed: core does not need it")

from rest_framework import generics, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from dovetail_core.rest.pagination import KeysetPagination

pytestmark = pytest.mark.django_db

FORWARD, BACK = "next", "prev"


class Page:
    def __init__(self, rows: Any, *, limit: int, cursor: str | None = None, path: str = "/groups") -> None:
        query: dict[str, Any] = {"limit": limit, **({"cursor": cursor} if cursor else {})}
        paginator = KeysetPagination()
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
def test_each_direction_returns_every_row_once(db: None, count: int, limit: int) -> None:
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
def test_changes_between_pages_neither_repeat_nor_skip_rows(
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
def test_page_whose_rows_were_deleted_links_to_the_others(way: str) -> None:
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


def test_page_has_50_items_by_default_and_200_at_most() -> None:
    Group.objects.bulk_create(Group(name=str(n)) for n in range(201))
    assert len(KeysetPagination().paginate_queryset(Group.objects.all(), Request(APIRequestFactory().get("/")))) == 50
    assert len(Page(Group.objects.all(), limit=200).keys) == 200


def test_each_page_takes_one_query(django_assert_num_queries: Any) -> None:
    for n in range(9):
        Group.objects.create(name=str(n))
    cursor = None
    for _ in range(3):
        with django_assert_num_queries(1):
            cursor = Page(Group.objects.all(), limit=3, cursor=cursor).meta[FORWARD]


class Row(serializers.ModelSerializer[Any]):
    class Meta:
        model = Group
        fields = ["pk"]


class Groups(generics.ListAPIView[Any]):
    queryset = Group.objects.order_by("name")
    serializer_class = Row
    pagination_class = KeysetPagination
    authentication_classes = ()
    permission_classes = ()


def get(query: str, path: str = "/groups") -> Any:
    return Groups.as_view()(APIRequestFactory().get(f"{path}?{query}"))


def test_response_contains_the_page_and_links() -> None:
    keys = [Group.objects.create(name=name).pk for name in "cab"]
    first = get("limit=1&q=%C3%A4")
    cursor = first.data["meta"]["next"]
    assert first.data == {"data": [{"pk": keys[2]}], "meta": {"next": cursor, "prev": None, "total": None}}
    assert first.headers["Link"].endswith('>; rel="next"')
    assert first.headers["Link"].startswith("<http://testserver/groups?cursor=")
    assert "q=%C3%A4" in first.headers["Link"]
    middle = get(f"limit=1&cursor={cursor}")
    assert middle.headers["Link"].count("rel=") == 2
    assert "Link" not in get("").headers
    assert KeysetPagination().get_results(middle.data) == [{"pk": keys[1]}]


@pytest.mark.parametrize(
    "limit", ["0", "-1", "201", "", "x", "1.5", "1e1", "%205", "%2B5", "%D9%A3", "9" * 5000, "1%00"]
)
def test_limit_out_of_range_is_400(limit: str) -> None:
    response = get(f"limit={limit}")
    assert (response.status_code, list(response.data)) == (400, ["limit"])
    assert response.data["limit"][0].code == "invalid_query"


@pytest.mark.parametrize("name", ["limit", "cursor"])
def test_repeated_parameter_is_400(name: str) -> None:
    response = get(f"{name}=1&{name}=1")
    assert (response.status_code, list(response.data)) == (400, [name])


def test_altered_or_foreign_cursor_is_400() -> None:
    for name in "ab":
        Group.objects.create(name=name)
    cursor = get("limit=1").data["meta"]["next"]
    assert get(f"cursor={cursor}").status_code == 200
    for path, altered in (
        ("/groups", ""),
        ("/groups", f"a{cursor}"),
        ("/groups", cursor[:-1] + ("a" if cursor[-1] != "a" else "b")),
        ("/groups", "x" * 5000),
        ("/groups", "%00"),
        ("/groups", "%C3%A4:%C3%B6"),
        ("/others", cursor),
    ):
        response = get(f"cursor={altered}", path)
        assert (response.status_code, list(response.data)) == (400, ["cursor"])


def test_cursor_with_a_former_key_type_is_400() -> None:
    token = Signer(salt="dovetail_core.cursor:/groups").sign_object(["lt", "not a number"])
    with pytest.raises(ValidationError):
        Page(Group.objects.all(), limit=1, cursor=token)


def test_paginate_accepts_lists_that_are_not_querysets() -> None:
    users = [User(pk=number) for number in (3, 2, 1)]
    paginator = KeysetPagination()
    request = Request(APIRequestFactory().get("/users?limit=2"))
    assert paginator.paginate(User, request, lambda cursor, limit: users[:limit]) == users[:2]
    assert paginator.get_paginated_response([]).data["meta"]["next"]


def test_schema_describes_parameters_and_response() -> None:
    parameters = {
        parameter["name"]: parameter["schema"] for parameter in KeysetPagination().get_schema_operation_parameters(None)
    }
    assert parameters["limit"] == {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
    assert parameters["cursor"] == {"type": "string"}
    schema = KeysetPagination().get_paginated_response_schema({"type": "array"})
    assert schema["required"] == ["data", "meta"]
    assert schema["properties"]["data"] == {"type": "array"}
    assert schema["properties"]["meta"]["required"] == ["next", "prev", "total"]
