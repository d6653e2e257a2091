"""Filtering and sorting by declared names. All mistakes are reported."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings
from drf_spectacular.drainage import GENERATOR_STATS
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from dovetail_contract.filters import FilterBackend, conditions
from tests.contract.shop.models import Item, Maker
from tests.contract.shop.views import ItemListView

pytestmark = pytest.mark.django_db
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def ask(**query: Any) -> Any:
    return Client(raise_request_exception=False).get(f"/api/items?{urlencode(query)}")


def f(**query: Any) -> Any:
    """Return the query string ``filter[name]=…`` for ``f(name__eq=…)``."""
    named = {}
    for name, value in query.items():
        field, _, operator = name.partition("__")
        named[f"filter[{field}]" + (f"[{operator}]" if operator else "")] = value
    return ask(**named)


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return sorted(row["name"] for row in answer.json()["data"])


def mistakes(answer: Any) -> list[tuple[str, str]]:
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_query"), answer.content
    return sorted((error["parameter"], error["code"]) for error in answer.json()["errors"])


@pytest.fixture
def three() -> list[Item]:
    maker = Maker.objects.create(name="Acme")
    return [
        Item.objects.create(
            name="hammer", rank=1, price=Decimal("9.99"), weight=0.5, created_at=BEGIN, maker=maker, due_on=BEGIN.date()
        ),
        Item.objects.create(
            name="saw, fine", rank=2, price=5, active=False, created_at=BEGIN + timedelta(days=1), kind="toy"
        ),
        Item.objects.create(name="Sander", price=5, created_at=BEGIN + timedelta(days=2)),
    ]


def test_each_operator(three: list[Item]) -> None:
    hammer, saw, sander = three
    assert names(f(name="hammer")) == ["hammer"]
    assert names(f(name__ne="hammer")) == ["Sander", "saw, fine"]
    assert names(f(name__in=r"hammer,saw\, fine")) == ["hammer", "saw, fine"]
    assert names(f(name__contains="SA")) == ["Sander", "saw, fine"]
    assert names(f(name__istartswith="sa")) == ["Sander", "saw, fine"]
    assert names(f(rank__lt="2")) == ["hammer"]
    assert names(f(rank__gte="2")) == ["saw, fine"]
    assert names(f(rank__in="1,2,3")) == ["hammer", "saw, fine"]
    assert names(f(rank__nin="1")) == ["Sander", "saw, fine"]
    assert names(f(rank__isnull="true")) == ["Sander"]
    assert names(f(price="9.99")) == ["hammer"]
    assert names(f(weight__gt="0.25")) == ["hammer"]
    assert names(f(active="false")) == ["saw, fine"]
    assert names(f(kind="toy")) == ["saw, fine"]
    assert names(f(due_on="2026-01-01")) == ["hammer"]
    assert names(f(created_at__gte="2026-01-02T00:00:00Z", created_at__lt="2026-01-03T01:00:00+02:00")) == ["saw, fine"]
    assert names(f(id=hammer.pk)) == ["hammer"]
    assert names(f(id__in=f"{saw.pk},{sander.pk}")) == ["Sander", "saw, fine"]
    assert names(f(maker=hammer.maker_id)) == ["hammer"]
    assert names(f(made_by="Acme")) == ["hammer"]


def test_filter_by_foreign_key_does_not_reveal_existence(three: list[Item]) -> None:
    assert names(f(maker="999999")) == []
    assert names(f(id=uuid4())) == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"name": ""}, "blank"),
        ({"name__contains": "x"}, "too_short"),
        ({"name__contains": "x" * 2000}, "too_long"),
        ({"name__contains": "x" * 201}, "too_long"),
        ({"name": "x" * 101}, "too_long"),
        ({"name__in": f"a,{'x' * 101}"}, "too_long"),
        ({"name": "a\0b"}, "invalid"),
        ({"kind": "car"}, "invalid_choice"),
        ({"kind__in": "toy,car"}, "invalid_choice"),
        ({"rank": "x"}, "invalid"),
        ({"rank": "1.5"}, "invalid"),
        ({"rank": "9" * 400}, "invalid"),
        ({"rank__in": ",".join(map(str, range(101)))}, "too_many"),
        ({"rank__in": "1,,2"}, "blank"),
        ({"rank__isnull": "1"}, "invalid"),
        ({"price": "NaN"}, "invalid"),
        ({"price": "1E+999999"}, "invalid"),
        ({"weight": "inf"}, "invalid"),
        ({"active": "yes"}, "invalid"),
        ({"due_on": "2026-13-01"}, "invalid"),
        ({"due_on": "0000-00-00"}, "invalid"),
        ({"created_at__gte": "9999-12-31T23:59:59-23:59"}, "out_of_range"),
        ({"created_at__gte": "0001-01-01T00:00:00+23:59"}, "out_of_range"),
        ({"created_at__gte": "yesterday"}, "invalid"),
        ({"id": "x"}, "invalid"),
        ({"maker": "x"}, "invalid"),
        ({"maker": "9" * 30}, "invalid"),
    ],
)
def test_invalid_value_is_reported(query: dict[str, str], code: str) -> None:
    assert [found for _, found in mistakes(f(**query))] == [code]


def test_all_mistakes_are_reported_with_allowed_values() -> None:
    answer = ask(
        **{
            "nmae": "x",
            "filter[nothing]": "1",
            "filter[kind][lt]": "toy",
            "filter[kind]": "car",
            "filter": "1",
            "filter[": "1",
            "sort": "-name,secret,name",
            "limit": "1",
        }
    )
    assert mistakes(answer) == [
        ("filter", "malformed"),
        ("filter[", "malformed"),
        ("filter[kind]", "invalid_choice"),
        ("filter[kind][lt]", "unknown"),
        ("filter[nothing]", "unknown"),
        ("nmae", "unknown"),
        ("sort", "repeated"),
        ("sort", "unknown"),
    ]
    allowed = {(error["parameter"], error["code"]): error.get("allowed") for error in answer.json()["errors"]}
    assert allowed["filter[kind]", "invalid_choice"] == ["tool", "toy"]
    assert allowed["filter[kind][lt]", "unknown"] == ["filter[kind]", "filter[kind][in]"]
    assert "made_by" in allowed["sort", "unknown"]


def test_repeated_parameters_are_reported() -> None:
    answer = Client().get("/api/items?filter[rank]=1&filter[rank]=2&sort=name&sort=rank")
    assert mistakes(answer) == [("filter[rank]", "repeated"), ("sort", "repeated")]


def test_sorting(three: list[Item]) -> None:
    def order(sort: str) -> list[str]:
        answer = ask(sort=sort)
        assert answer.status_code == 200, answer.content
        return [row["name"] for row in answer.json()["data"]]

    assert order("-created_at") == ["Sander", "saw, fine", "hammer"]
    assert order("price,-created_at") == ["Sander", "saw, fine", "hammer"]
    assert order("rank") == ["hammer", "saw, fine", "Sander"]
    assert order("made_by,name")[0] == "hammer"
    for sort in ("", ",", "-", "password", "maker__name", "name,name,name,name,name,name"):
        assert mistakes(ask(sort=sort)), sort


def test_cursor_follows_filtered_and_sorted_list(three: list[Item]) -> None:
    query = {"filter[price]": "5", "sort": "name", "limit": "1"}
    first = ask(**query).json()
    second = ask(**query, cursor=first["meta"]["next"]).json()
    assert {row["name"] for row in first["data"] + second["data"]} == {"saw, fine", "Sander"}
    assert second["meta"]["next"] is None
    assert ask(**{**query, "sort": "-name"}, cursor=first["meta"]["next"]).json()["code"] == "invalid_cursor"


def test_detail_views_have_no_filters(three: list[Item]) -> None:
    assert Client().get(f"/api/items/{three[0].pk}?anything=1").status_code == 200


def test_other_parameters_can_be_declared_or_ignored() -> None:
    assert ask(q="x").status_code == 200
    with override_settings(CONTRACT_UNKNOWN_PARAMETERS="ignore"):
        assert ask(anything="x").status_code == 200
        assert ask(**{"filter[nothing]": "x"}).status_code == 400


def test_view_without_declarations_has_no_filters(monkeypatch: Any) -> None:
    monkeypatch.delattr(ItemListView, "contract")
    assert ask(limit="1").status_code == 200
    assert mistakes(ask(**{"filter[name]": "x", "sort": "name"})) == [("filter[name]", "unknown"), ("sort", "unknown")]


@pytest.mark.parametrize(
    "declared", [{"nothing": ["eq"]}, {"name": ["regex"]}, {"x": {"path": "name__length"}}, {"x": {"path": "maker__x"}}]
)
def test_invalid_filter_declaration_is_rejected(declared: Any) -> None:
    with pytest.raises(ImproperlyConfigured):
        conditions(SimpleNamespace(contract={"filter": declared}), Item)


def test_schema_parameters_are_typed() -> None:
    described = {each["name"]: each for each in FilterBackend().get_schema_operation_parameters(ItemListView())}
    assert described["filter[kind]"]["schema"] == {"type": "string", "enum": ["tool", "toy"]}
    assert described["filter[created_at][gte]"]["schema"] == {"type": "string", "format": "date-time"}
    assert described["filter[rank][in]"]["schema"]["items"]["type"] == "integer"
    assert described["filter[maker]"]["schema"]["type"] == "integer"
    assert "-made_by" in described["sort"]["schema"]["items"]["enum"]


@given(
    name=st.sampled_from(sorted(conditions(ItemListView(), Item))),
    value=st.text(max_size=30)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.datetimes().map(str)
    | st.dates().map(str)
    | st.decimals().map(str)
    | st.sampled_from(["1e308", "-0", "0x10", "١", "true,false", "\\,", ",", "T", "24:00", "2026-02-30", "1_000"]),
)
@examples(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_causes_a_server_error(name: str, value: str) -> None:
    answer = ask(**{name: value.encode(errors="replace").decode()})
    assert answer.status_code in {200, 400}


def test_view_with_user_dependent_queryset_is_described() -> None:
    class Own(ItemListView):
        queryset = None

        def get_queryset(self) -> Any:
            return Item.objects.filter(maker=self.request.user.nobody)

    class Unknown(Own):
        serializer_class = None  # type: ignore[assignment]

    described = [each["name"] for each in FilterBackend().get_schema_operation_parameters(Own())]
    assert {"filter[kind]", "filter[rank][gte]", "sort"} <= set(described)
    with GENERATOR_STATS.silence():
        assert [each["name"] for each in FilterBackend().get_schema_operation_parameters(Unknown())] == ["sort"]
