from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from dovetail_notify import NotificationType, Rendered, get_notification_model, notify
from dovetail_notify.types import registry
from dovetail_notify.types.payloads import clean, decode, encode
from tests.notify.orders.notifications import Carrier, OrderShipped, Tip


def test_payload_round_trip():
    shipped = OrderShipped(
        number="A-1",
        carrier=Carrier.COURIER,
        order_id=UUID(int=5),
        total=Decimal("9.90"),
        due=date(2026, 1, 2),
        at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        items=["a"],
    )
    payload = encode(shipped)
    assert payload["total"] == "9.90"
    assert decode(OrderShipped, payload) == shipped
    assert OrderShipped.from_payload({**payload, "gone": 1}) == shipped


@pytest.mark.parametrize("wrong", [{"number": 5}, {"number": "x", "items": "x"}, {"number": "x", "order_id": "x"}])
def test_value_of_another_type_is_refused(wrong):
    with pytest.raises(TypeError, match="takes"):
        OrderShipped(**wrong)


def test_missing_and_unknown_fields_are_refused():
    with pytest.raises(TypeError):
        OrderShipped()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        OrderShipped(number="1", colour="red")  # type: ignore[call-arg]


def test_instances_are_immutable():
    with pytest.raises(AttributeError):
        OrderShipped(number="1").number = "2"  # type: ignore[misc]


@pytest.mark.parametrize("key", ["Orders.shipped", "orders shipped", "", "a" * 101, "orders."])
def test_invalid_key_is_refused(key):
    with pytest.raises(ValueError, match="key reads"):
        type("Wrong", (NotificationType,), {}, key=key)


def test_types_without_a_key_are_abstract():
    class Base(NotificationType):
        number: int

    class Concrete(Base, key="tests.concrete"):
        name: str = "x"

        def render(self) -> Rendered:
            return Rendered(title=f"{self.number} {self.name}")

    try:
        assert Concrete(number=1).render().title == "1 x"
        assert registry.get("tests.concrete") is Concrete
        assert (Base.key, Concrete.category) == ("", "tests")
        with pytest.raises(NotImplementedError, match=r"render\(\)"):
            Base(number=1).render()
    finally:
        registry.remove(Concrete)


def test_old_payload_is_upgraded():
    class Renamed(NotificationType, key="tests.renamed"):
        number: int
        version = 2

        @classmethod
        def upgrade(cls, payload: dict[str, Any], from_version: int) -> dict[str, Any]:
            return {"number": payload["no"]} if from_version == 1 else payload

    try:
        assert Renamed.from_payload({"no": 7}, 1) == Renamed(number=7)
    finally:
        registry.remove(Renamed)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "//evil.example",
        "/\\evil.example",
        "http://x.example",
        "orders",
        "https://",
        "/a b",
        "/\ud800",
    ],
)
def test_unsafe_url_is_refused(url):
    with pytest.raises(ValueError, match="begins with / or an https URL"):
        Rendered(title="x", url=url)


def test_titles_are_shortened_to_one_line():
    assert Rendered(title="a\r\nBcc: x").title == "a Bcc: x"
    assert len(Rendered(title="x" * 500).title) == 200
    with pytest.raises(ValueError, match="needs a title"):
        Rendered(title=" ")


@pytest.mark.django_db
def test_characters_that_databases_refuse_are_replaced(user):
    notify(Tip(text="a\0b\ud800c"), to=user)
    row = get_notification_model().objects.get()
    assert row.title == "a\ufffdb\ufffdc"
    assert row.payload == {"text": "a\ufffdb\ufffdc"}
    assert clean("😀") == "😀"


@pytest.mark.parametrize("cls", registry.all(), ids=lambda cls: cls.key)
def test_every_example_renders_and_round_trips(cls):
    example = cls.from_example()
    assert isinstance(example.render(), Rendered)
    assert cls.from_payload(encode(example)) == example
