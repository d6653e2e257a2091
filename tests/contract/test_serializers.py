"""Fields that are strings in the schema accept only strings."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import QueryDict
from django.test import Client
from rest_framework.serializers import Serializer, ValidationError

from dovetail_contract.validation.serializers import (
    DecimalField,
    EmailField,
    ModelSerializer,
    RegexField,
    SlugField,
    TextField,
    URLField,
)
from tests.contract.shop.models import Item, Ticket

NO_TEXT = [5, 1.5, True, None, ["x"], {"a": "x"}]


class Described(Serializer[Any]):
    text = TextField()
    email = EmailField()
    code = RegexField("^[0-9a-z]+$")
    slug = SlugField()
    url = URLField()
    price = DecimalField(max_digits=5, decimal_places=2)


GIVEN = {
    "text": " 5 ", "email": "5@example.com", "code": "5", "slug": "5", "url": "https://example.com/5", "price": "5",
}  # fmt: skip
TAKEN = {**GIVEN, "text": "5", "price": Decimal(5)}


class ItemSerializer(ModelSerializer[Item]):
    class Meta:
        model = Item
        fields = ["name", "price"]


@pytest.mark.django_db
@pytest.mark.parametrize("value", [5, 1.5, True, None, ["x"]])
def test_values_that_are_not_text_are_400(value: Any) -> None:
    client = Client()
    client.force_login(User.objects.create(username="ada"))
    answer = client.post("/api/set", {"title": value}, "application/json")
    assert answer.status_code == 400
    assert [each["pointer"] for each in answer.json()["errors"]] == ["#/title"]
    assert not Ticket.objects.exists()
    assert client.post("/api/set", {"title": "5"}, "application/json").status_code == 201


@pytest.mark.parametrize("value", NO_TEXT)
@pytest.mark.parametrize("field", GIVEN)
def test_each_field_reports_invalid_values(field: str, value: Any) -> None:
    serializer = Described(data={**GIVEN, field: value})
    assert not serializer.is_valid()
    (error,) = serializer.errors[field]
    assert error.code == ("null" if value is None else "invalid")
    if value == 5:
        assert error == Described().fields[field].error_messages["invalid"]


def test_text_is_accepted_from_json_and_forms() -> None:
    form = QueryDict(mutable=True)
    form.update(GIVEN)
    for data in (GIVEN, form):
        serializer = Described(data=data)
        assert serializer.is_valid(), serializer.errors
        assert serializer.validated_data == TAKEN


@pytest.mark.parametrize("text", ["12345 ", " 12345", "123456"])
def test_length_is_checked_before_trimming(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TextField(max_length=5).run_validation(text)
    assert caught.value.get_codes() == ["max_length"]
    assert TextField(max_length=6).run_validation(text) == text.strip()


@pytest.mark.parametrize("slug", [" five", "five ", "five\n", "fi ve"])
def test_slug_has_no_spaces(slug: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SlugField().run_validation(slug)
    assert caught.value.get_codes() == ["invalid"]


def test_model_serializer_uses_the_fields() -> None:
    serializer = ItemSerializer(data={"name": 5, "price": 5})
    assert not serializer.is_valid()
    assert {name: error[0].code for name, error in serializer.errors.items()} == {"name": "invalid", "price": "invalid"}


def test_decimal_rendered_as_number_accepts_numbers() -> None:
    field = DecimalField(max_digits=5, decimal_places=2, coerce_to_string=False)
    assert field.run_validation(1.5) == field.run_validation("1.5") == Decimal("1.5")
