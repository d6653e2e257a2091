"""Cursor pages are complete with ties, NULLs and concurrent changes, and reject forged cursors."""

from __future__ import annotations

import json
import re
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.models import F, OrderBy
from django.db.models.functions import Length, Lower
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from dovetail_contract.pagination import CursorPagination, cursors, keyset
from dovetail_core import context
from dovetail_core.rest.pagination import Cursor
from tests.contract.shop.models import Item, Maker, Ticket

pytestmark = pytest.mark.django_db
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def make(count: int, **fields: Any) -> list[Item]:
    return Item.objects.bulk_create(
        Item(**{"name": f"item {number}", "created_at": BEGIN + timedelta(minutes=number), **fields})
        for number in range(count)
    )


def fetch(queryset: Any, **query: Any) -> tuple[list[Any], dict[str, Any]]:
    paginator = CursorPagination()
    request = Request(APIRequestFactory().get("/api/things", {k: v for k, v in query.items() if v is not None}))
    rows = paginator.paginate_queryset(queryset, request)
    return rows, paginator.get_paginated_response(rows).data["meta"]


def walk(queryset: Any, limit: int, direction: str = "next", cursor: str | None = None) -> list[Any]:
    seen: list[Any] = []
    for _ in range(2000):
        rows, meta = fetch(queryset, limit=limit, cursor=cursor)
        seen += rows if direction == "next" else rows[::-1]
        cursor = meta[direction]
        if cursor is None:
            return seen
    raise AssertionError("The list never ends.")


def items(path: str = "", **headers: str) -> Any:
    return Client().get(f"/api/items{path}", headers=headers)


def test_page_has_data_meta_and_links() -> None:
    make(5)
    answer = items("?limit=2")
    body = answer.json()
    assert [row["name"] for row in body["data"]] == ["item 4", "item 3"]
    assert set(body["meta"]) == {"next", "prev", "total"}
    assert (body["meta"]["prev"], body["meta"]["total"]) == (None, None)
    url = f"http://testserver/api/items?cursor={body['meta']['next']}&limit=2"
    assert answer.headers["Link"] == f'<{url}>; rel="next"'
    second = Client().get(url).json()
    assert [row["name"] for row in second["data"]] == ["item 2", "item 1"]
    third = items(f"?limit=2&cursor={second['meta']['next']}").json()
    assert third["meta"]["next"] is None
    back = items(f"?limit=2&cursor={third['meta']['prev']}").json()
    assert back["data"] == second["data"]


def test_empty_list_has_no_cursors() -> None:
    assert items().json() == {"data": [], "meta": {"next": None, "prev": None, "total": None}}


def in_database(key: uuid.UUID) -> bytes:
    """Return the database's sort key of a UUID: MariaDB's type starts with the last part."""
    raw = key.bytes
    if connection.vendor == "mysql" and connection.features.has_native_uuid_field:
        return raw[10:] + raw[8:10] + raw[6:8] + raw[4:6] + raw[:4]
    return raw


def test_equal_timestamps_are_all_listed() -> None:
    made = make(3000, created_at=BEGIN)
    seen = walk(Item.objects.order_by("created_at"), 200)
    assert [row.pk for row in seen] == sorted((row.pk for row in made), key=in_database)


def test_nulls_come_last_in_both_directions() -> None:
    made = [Item.objects.create(name="x", created_at=BEGIN, rank=rank) for rank in (3, None, 1, None, 2, None)]
    nulls = sorted((row.pk for row in made if row.rank is None), key=in_database)
    assert [row.rank for row in walk(Item.objects.order_by("rank"), 2)] == [1, 2, 3, None, None, None]
    assert [row.rank for row in walk(Item.objects.order_by("-rank"), 2)] == [3, 2, 1, None, None, None]
    assert [row.pk for row in walk(Item.objects.order_by("rank"), 2)][3:] == nulls


ORDERS = st.lists(
    st.sampled_from(["rank", "due_on", "kind", "created_at", "price", "weight", "name", "maker", "maker__name"]),
    unique=True,
    max_size=4,
)
ROW = st.fixed_dictionaries(
    {
        "rank": st.sampled_from([None, 1, 2]),
        "due_on": st.sampled_from([None, date(2026, 1, 1), date(2026, 1, 2)]),
        "kind": st.sampled_from(["tool", "toy"]),
        "created_at": st.sampled_from([BEGIN, BEGIN + timedelta(microseconds=1), BEGIN + timedelta(seconds=1)]),
        "price": st.sampled_from([Decimal("0.10"), Decimal("0.30"), Decimal(10)]),
        "weight": st.sampled_from([0.1, 0.30000000000000004, 2.5e-10]),
        "name": st.sampled_from(["a", "b", "ü"]),
        "maker": st.sampled_from([None, 0, 1]),
    }
)


def ordered(rows: list[Item], order: list[tuple[str, bool]]) -> list[Any]:
    """Sort by each key in turn, starting with the last, with NULLs after all other values."""
    descending = order[-1][1] if order else True
    rows = sorted(rows, key=lambda row: in_database(row.pk), reverse=descending)
    for name, down in reversed(order):

        def value(row: Item, name: str = name) -> Any:
            if name == "maker":
                return row.maker_id
            return (row.maker.name if row.maker else None) if name == "maker__name" else getattr(row, name)

        filled = [row for row in rows if value(row) is not None]
        rows = sorted(filled, key=value, reverse=down) + [row for row in rows if value(row) is None]
    return [row.pk for row in rows]


@given(
    rows=st.lists(ROW, max_size=14),
    later=st.lists(ROW, max_size=6),
    names=ORDERS,
    directions=st.lists(st.booleans(), min_size=4, max_size=4),
    limit=st.integers(1, 5),
    # Drawn in advance, because keys are random and would change the number of pages between runs of an example.
    goes=st.lists(st.none() | st.integers(0, 13), max_size=30),
)
@examples(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_each_remaining_row_is_listed_once_in_any_order(
    rows: Any, later: Any, names: Any, directions: Any, limit: int, goes: Any
) -> None:
    Item.objects.all().delete()
    makers = [Maker.objects.create(name=name) for name in ("m", "l")]

    def create(fields: dict[str, Any]) -> Item:
        chosen = fields["maker"]
        return Item.objects.create(**{**fields, "maker": None if chosen is None else makers[chosen]})

    stay = [create(fields) for fields in rows]
    order = [(name, directions[index]) for index, name in enumerate(names)]
    queryset = Item.objects.order_by(*(("-" if down else "") + name for name, down in order))

    cursor, seen, gone = None, [], set()
    for _ in range(len(rows) + len(later) + 10):
        page, meta = fetch(queryset, limit=limit, cursor=cursor)
        seen += [row.pk for row in page]
        cursor = meta["next"]
        if cursor is None:
            break
        if later:
            create(later.pop())
        place = goes.pop() if goes else None
        if stay and place is not None:
            row = stay[place % len(stay)]
            Item.objects.filter(pk=row.pk).delete()
            gone.add(row.pk)
            stay.remove(row)
    else:
        raise AssertionError("The list never ends.")

    kept = [key for key in seen if key in {row.pk for row in stay}]
    assert kept == ordered(stay, order)
    assert len(set(seen)) == len(seen)

    final = ordered(list(Item.objects.select_related("maker")), order)
    assert [row.pk for row in walk(queryset, limit)] == final
    if len(final) > limit:
        *_, last = _pages(queryset, limit)
        back = walk(queryset, limit, "prev", last[1]["prev"])
        assert [row.pk for row in back] == final[: len(final) - len(last[0])][::-1]
        # One page back and one forward returns exactly the same rows.
        _, meta_before = fetch(queryset, limit=limit, cursor=last[1]["prev"])
        forward, _ = fetch(queryset, limit=limit, cursor=meta_before["next"])
        assert [row.pk for row in forward] == [row.pk for row in last[0]]


def _pages(queryset: Any, limit: int) -> Any:
    cursor = None
    while True:
        rows, meta = fetch(queryset, limit=limit, cursor=cursor)
        yield rows, meta
        cursor = meta["next"]
        if cursor is None:
            return


def test_page_without_rows_points_back() -> None:
    make(4)
    queryset = Item.objects.order_by("created_at")
    first, meta = fetch(queryset, limit=2)
    Item.objects.filter(created_at__gt=first[-1].created_at).delete()
    rows, empty = fetch(queryset, limit=2, cursor=meta["next"])
    assert (rows, empty["next"]) == ([], None)
    back, _ = fetch(queryset, limit=2, cursor=empty["prev"])
    assert [row.pk for row in back] == [row.pk for row in first]


def test_pages_by_annotations_expressions_and_values() -> None:
    for name in ("ccc", "a", "bb", "aa"):
        Item.objects.create(name=name, created_at=BEGIN)
    annotated = Item.objects.annotate(length=Length("name"), lower=Lower("name")).order_by("-length", "lower")
    assert [row.name for row in walk(annotated, 1)] == ["ccc", "aa", "bb", "a"]
    by_expression = Item.objects.order_by(OrderBy(F("name"), descending=True))
    assert [row.name for row in walk(by_expression, 1)] == ["ccc", "bb", "aa", "a"]
    reverse = Item.objects.order_by("name").reverse()
    assert [row.name for row in walk(reverse, 1)] == ["ccc", "bb", "aa", "a"]
    values = Item.objects.order_by("name").values("id", "name")
    assert [row["name"] for row in walk(values, 1)] == ["a", "aa", "bb", "ccc"]


def test_unordered_list_has_newest_first() -> None:
    made = [Ticket.objects.create(title=str(number)) for number in range(5)]
    assert walk(Ticket.objects.all(), 2) == made[::-1]


@pytest.mark.parametrize("order", ["?", "nothing", "maker__nothing", Lower("name")])
def test_order_without_columns_is_rejected(order: Any) -> None:
    queryset = Item.objects.all()
    queryset.query.order_by = (order,)
    with pytest.raises(ImproperlyConfigured, match="Cannot paginate by"):
        keyset.keys(queryset)


@pytest.mark.parametrize("limit", ["0", "-1", "201", "1e2", "x", "", "9" * 50, "١", "1.0"])
def test_limit_out_of_range_is_400(limit: str) -> None:
    answer = items(f"?limit={limit}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_query")
    assert answer.json()["errors"][0]["parameter"] == "limit"


def test_repeated_parameters_are_400() -> None:
    for query in ("limit=1&limit=2", "cursor=a&cursor=b"):
        assert items(f"?{query}").json()["errors"][0]["code"] == "repeated"


def refused(answer: Any) -> None:
    assert answer.status_code == 400, answer.content
    assert answer.json()["code"] == "invalid_cursor"


def _next(query: str = "?limit=2", path: str = "/api/items", **headers: str) -> str:
    cursor: str = Client().get(f"{path}{query}", headers=headers).json()["meta"]["next"]
    return cursor


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "None", "%00", "%ff", "é", "A" * 5000, "WyJsdCIsIjEiXQ", "=", "cD0xJTAw", "....", "-_-_", "cD1Ob25l"],
)
def test_forged_cursor_is_400(cursor: str) -> None:
    make(3)
    refused(items(f"?cursor={cursor}"))


def test_cursor_with_any_changed_bit_is_rejected() -> None:
    make(5)
    raw = urlsafe_b64decode(_next() + "==")
    for place in range(len(raw)):
        altered = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        refused(items(f"?limit=2&cursor={urlsafe_b64encode(altered).decode().rstrip('=')}"))
    for changed in (_next() + "=", _next() + "A", _next()[:-1], " " + _next(), _next() + "%0a"):
        refused(items(f"?limit=2&cursor={changed}"))


def test_cursor_is_bound_to_list_filter_and_organization() -> None:
    make(5)
    cursor = _next()
    assert items(f"?limit=1&cursor={cursor}").status_code == 200
    refused(Client().get(f"/api/shelf/1/items?cursor={cursor}"))
    refused(items(f"?cursor={cursor}&q=1"))
    with context.bind(organization_id=7):
        refused(items(f"?cursor={cursor}"))
        own = _next()
        assert items(f"?cursor={own}").status_code == 200
    refused(items(f"?cursor={own}"))


def test_cursor_survives_key_rotation() -> None:
    make(5)
    with override_settings(SECRET_KEY="old " * 10):
        cursor = _next()
    refused(items(f"?cursor={cursor}"))
    with override_settings(SECRET_KEY_FALLBACKS=["old " * 10]):
        assert items(f"?cursor={cursor}").status_code == 200


@given(
    values=st.lists(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text()
        | st.decimals(allow_nan=False)
        | st.uuids()
        | st.dates()
        | st.times()
        | st.timedeltas()
        | st.datetimes()
        | st.datetimes(timezones=st.just(UTC))
    ),
    flags=st.tuples(st.booleans(), st.booleans()),
)
@examples(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cursor_preserves_values(values: list[Any], flags: Any) -> None:
    cursor = Cursor(tuple(values), *flags)
    token = cursors.encode(cursor, scope="list")
    back = cursors.decode(token, scope="list", length=len(values))
    assert back == cursor
    assert [type(value) for value in back.key] == [type(value) for value in values]
    with pytest.raises(cursors.InvalidCursor):
        cursors.decode(token, scope="another", length=len(values))
    with pytest.raises(cursors.InvalidCursor):
        cursors.decode(token, scope="list", length=len(values) + 1)


@given(token=st.text() | st.binary().map(lambda raw: urlsafe_b64encode(raw).decode()))
@examples(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_text_is_not_a_cursor(token: str) -> None:
    with pytest.raises(cursors.InvalidCursor):
        cursors.decode(token, scope="list", length=1)


def test_unsupported_value_raises_type_error() -> None:
    with pytest.raises(TypeError, match="Cannot paginate by a value of type bytes"):
        cursors.encode(Cursor((b"x",)), scope="list")


def test_total_is_counted_on_request_up_to_a_maximum() -> None:
    make(5)
    assert items().json()["meta"]["total"] is None
    answer = items("?limit=2", prefer="return=total-count")
    assert (answer.json()["meta"]["total"], answer.headers["Preference-Applied"]) == (5, "return=total-count")
    with override_settings(CONTRACT_TOTAL_MAX=4):
        assert items(prefer="respond-async, return=total-count").json()["meta"]["total"] is None
    assert "Preference-Applied" not in items(prefer="return=minimal").headers


def test_view_can_always_count_the_total(monkeypatch: Any) -> None:
    from tests.contract.shop.views import ItemListView

    make(3)
    monkeypatch.setattr(ItemListView, "contract", {"total": "exact"})
    assert items("?limit=1").json()["meta"]["total"] == 3


def test_unapplied_preference_is_not_confirmed(monkeypatch: Any) -> None:
    from tests.contract.shop.views import ItemListView

    make(5)
    answer = items()
    assert "Prefer" in answer.headers["Vary"]
    with override_settings(CONTRACT_TOTAL_MAX=4):
        assert "Preference-Applied" not in items(prefer="return=total-count").headers
    monkeypatch.setattr(ItemListView, "contract", {"total": "exact"})
    assert "Preference-Applied" in items(prefer="return=total-count").headers
    assert "Preference-Applied" not in items().headers


def numbered(query: str = "") -> Any:
    return Client().get(f"/api/numbered/items{query}")


def test_view_can_accept_page_numbers() -> None:
    make(7)
    names = [[row["name"] for row in numbered(f"?page={page}&limit=3").json()["data"]] for page in (1, 2, 3, 4)]
    assert names == [["item 6", "item 5", "item 4"], ["item 3", "item 2", "item 1"], ["item 0"], []]


def test_numbered_page_has_cursors() -> None:
    make(7)
    answer = numbered("?page=2&limit=2")
    meta = answer.json()["meta"]
    third, first = (numbered(f"?limit=2&cursor={meta[where]}").json()["data"] for where in ("next", "prev"))
    assert [row["name"] for row in third] == ["item 2", "item 1"]
    assert first == numbered("?limit=2").json()["data"]
    assert "page=" not in answer.headers["Link"]
    (link, *_) = answer.headers["Link"].split(";")
    assert Client().get(link.strip("<>")).json()["data"] == third
    assert numbered("?page=1&limit=2").json()["meta"]["prev"] is None
    assert numbered("?page=4&limit=2").json()["meta"]["next"] is None


def test_numbered_pages_and_cursors_have_the_same_order() -> None:
    for rank in (3, None, 1, None, 2, None):
        Item.objects.create(name="x", created_at=BEGIN, rank=rank)
    by_cursor = [str(row.pk) for row in walk(Item.objects.order_by("rank"), 6)]
    by_page = [row["id"] for page in (1, 2, 3) for row in numbered(f"?sort=rank&page={page}&limit=2").json()["data"]]
    assert by_page == by_cursor


def test_page_too_deep_is_400() -> None:
    make(1)
    assert numbered("?page=200").status_code == numbered("?page=50&limit=200").status_code == 200
    for query in ("?page=201", "?page=51&limit=200", "?page=999999999"):
        answer = numbered(query)
        assert (answer.status_code, answer.json()["code"]) == (400, "page_too_deep")
        assert answer.json()["errors"][0]["parameter"] == "page"
    with override_settings(CONTRACT_PAGE_MAX_ROWS=10):
        assert "the last page is 5" in numbered("?page=6&limit=2").json()["detail"]


@pytest.mark.parametrize("query", ["0", "-1", "x", "", "1.5", "١", "9" * 50, "1&page=2", "1&cursor=x"])
def test_invalid_page_number_is_400(query: str) -> None:
    answer = numbered(f"?page={query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_query")
    assert answer.json()["errors"][0]["parameter"] == "page"


def test_page_numbers_need_a_declaration() -> None:
    assert items("?page=1").json()["errors"][0] == {
        "code": "unknown",
        "detail": "Unknown parameter.",
        "parameter": "page",
    }
    assert items("?Prefer=x").status_code == 400


def test_page_needs_one_query(django_assert_num_queries: Any) -> None:
    make(30)
    for query in ("?page=1&limit=2", "?page=10&limit=2"):
        with django_assert_num_queries(1):
            numbered(query)


def test_query_count_does_not_grow_with_rows(django_assert_num_queries: Any) -> None:
    make(30)
    cursor = _next()
    for limit in (2, 20):
        with django_assert_num_queries(1):
            items(f"?limit={limit}")
    with django_assert_num_queries(1):
        items(f"?limit=2&cursor={cursor}")


def test_total_of_other_lists_loads_no_rows() -> None:
    limits: list[int] = []

    def fetch_rows(cursor: Cursor | None, limit: int) -> list[Any]:
        limits.append(limit)
        return []

    request = Request(APIRequestFactory().get("/api/things", {"limit": 3}, headers={"Prefer": "return=total-count"}))
    paginator = CursorPagination()
    paginator.paginate(Item, request, fetch_rows, count=lambda limit: limit - 1)
    assert (limits, paginator.total) == ([4], 1000)


def test_pages_of_other_lists_equal_those_of_a_queryset() -> None:
    make(7)
    rows = Item.objects.order_by("-pk")

    def fetch_rows(cursor: Cursor | None, limit: int) -> list[Any]:
        found = rows if cursor is None else rows.filter(**{f"pk__{cursor.lookup}": cursor.key})
        return list((found.reverse() if cursor is not None and cursor.backward else found)[:limit])

    def count_rows(limit: int) -> int:
        return rows[:limit].count()

    def by_fetch(cursor: str | None, prefer: str = "", count: Any = count_rows) -> tuple[list[Any], dict[str, Any]]:
        paginator = CursorPagination()
        query = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        request = Request(APIRequestFactory().get("/api/things", query, headers={"Prefer": prefer}))
        page = paginator.paginate(Item, request, fetch_rows, count=count)
        return page, paginator.get_paginated_response(page).data["meta"]

    cursor = None
    for direction in ("next", "next", "prev", "prev"):
        expected, meta = fetch(rows, limit=3, cursor=cursor)
        assert by_fetch(cursor) == (expected, meta)
        cursor = meta[direction]
    assert by_fetch(None, "return=total-count")[1]["total"] == 7
    assert by_fetch(None, "return=total-count", count=None)[1]["total"] is None
    with override_settings(CONTRACT_TOTAL_MAX=6):
        assert by_fetch(None, "return=total-count")[1]["total"] is None


def test_unique_key_completes_the_order() -> None:
    _, order = keyset.keys(Item.objects.order_by("-id", "name"))
    assert [key.path for key in order] == ["id"]
    _, order = keyset.keys(Item.objects.order_by("maker", "-name"))
    assert [(key.path, key.descending) for key in order] == [("maker_id", False), ("name", True), ("id", True)]


@pytest.mark.postgres
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="DATABASE_URL is not PostgreSQL")
def test_middle_page_uses_the_index() -> None:
    with connection.cursor() as cursor:
        for columns in ("created_at, id", "rank, id", "price, created_at DESC, id DESC"):
            cursor.execute(f"CREATE INDEX ON shop_item ({columns})")
        cursor.execute(
            "INSERT INTO shop_item (id, name, kind, rank, price, weight, active, created_at) "
            "SELECT gen_random_uuid(), 'x', 'tool', CASE WHEN n % 3 = 0 THEN n END, n % 7, 0, true, "
            "timestamptz '2026-01-01' + (n / 3) * interval '1 second' FROM generate_series(1, 60000) n"
        )
        cursor.execute("ANALYZE shop_item")
    for names in (["created_at"], ["-created_at"], ["rank"], ["price", "-created_at"]):
        queryset, order = keyset.keys(Item.objects.order_by(*names))
        middle = queryset.exclude(rank=None).order_by(*(key.order(backward=False) for key in order))[9000]
        cursor = Cursor(tuple(key.value(middle) for key in order))
        condition = next(keyset._ranges(order, cursor))
        plan = json.loads(
            queryset.filter(*condition)
            .order_by(*(key.order(backward=False) for key in order))[:51]
            .explain(format="json", analyze=True, buffers=True)
        )[0]["Plan"]
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 200, plan
        assert "Seq Scan" not in json.dumps(plan)
        assert '"Sort"' not in json.dumps(plan)


@pytest.mark.skipif("connection.vendor == 'mysql'", reason="CREATE INDEX commits the transaction on MariaDB")
@pytest.mark.parametrize("name", ["rank", "-rank"])
def test_nullable_key_is_read_in_the_order_of_an_index(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX by_rank ON shop_item (rank, id)")
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        queryset, order = keyset.keys(Item.objects.order_by(name))
        for start in (None, Cursor((7, uuid.uuid4())), Cursor((7, uuid.uuid4()), backward=True)):
            with CaptureQueriesContext(connection) as queries:
                keyset.page(queryset, order, start, 51)
            for query in queries:
                command = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
                cursor.execute(f"{command} {query['sql']}")
                plan = str(cursor.fetchall())
                assert "by_rank" in plan
                assert not re.search("sort|temp b-tree", plan, re.IGNORECASE), plan


@pytest.mark.django_db(transaction=True)  # CREATE INDEX commits on MariaDB
@pytest.mark.skipif("connection.vendor != 'mysql'", reason="DATABASE_URL is not MariaDB")
def test_middle_page_uses_the_index_on_mariadb() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX by_created ON shop_item (created_at, id)")
        try:
            cursor.execute(
                "INSERT INTO shop_item (id, name, kind, price, weight, active, created_at) SELECT uuid(), 'x', 'tool', "
                "1, 0, 1, '2026-01-01' + INTERVAL (seq DIV 3) SECOND FROM seq_1_to_20000"
            )
            cursor.execute("ANALYZE TABLE shop_item")
            cursor.fetchall()
            for name in ("created_at", "-created_at", "id"):
                queryset, order = keyset.keys(Item.objects.order_by(name))
                ordered = queryset.order_by(*(key.order(backward=False) for key in order))
                middle = ordered[15_000]
                condition = next(keyset._ranges(order, Cursor(tuple(key.value(middle) for key in order))))
                page = ordered.filter(*condition)[:51]
                assert [row.pk for row in page] == [row.pk for row in ordered[15_001:15_052]]
                cursor.execute("FLUSH STATUS")
                list(page.all())
                cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
                assert sum(int(count) for _, count in cursor.fetchall()) < 200
        finally:
            cursor.execute("DROP INDEX by_created ON shop_item")


def test_primary_key_is_not_a_cursor() -> None:
    refused(items(f"?cursor={uuid.uuid4()}"))
