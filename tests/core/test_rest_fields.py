from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import QueryDict

pytest.importorskip("rest_framework", reason="REST framework is not installed: core does not need it")

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from dovetail_core.rest.fields import (
    FIELD_MAPPING,
    EmailField,
    FlagField,
    RegexField,
    SlugField,
    TextField,
    URLField,
    WholeNumberField,
)


class Sample(serializers.Serializer[Any]):
    flag = FlagField(required=False)
    number = WholeNumberField(required=False, max_value=9)


FIELDS = [
    (TextField(), "a b"),
    (EmailField(), "ada@example.com"),
    (RegexField(r"^a"), "abc"),
    (SlugField(), "a-b"),
    (URLField(), "https://example.com"),
]


@pytest.mark.parametrize(("field", "text"), FIELDS, ids=lambda value: type(value).__name__)
def test_text_is_accepted_and_trimmed(field: serializers.CharField, text: str) -> None:
    assert field.run_validation(text) == text
    if not isinstance(field, SlugField | RegexField):
        assert field.run_validation(f" {text} ") == text


@pytest.mark.parametrize("value", [5, 1.5, True, [], {}, b"a", "a\0b", "\ud800", "a" * 201])
@pytest.mark.parametrize("kind", [TextField, EmailField, SlugField, URLField])
def test_other_types_nul_surrogates_and_longer_text_are_rejected(kind: type[TextField], value: object) -> None:
    with pytest.raises(ValidationError):
        kind(max_length=200).run_validation(value)


def test_length_is_checked_before_trimming() -> None:
    field = TextField(max_length=3)
    assert field.run_validation("abc") == "abc"
    with pytest.raises(ValidationError) as error:
        field.run_validation("abc ")
    assert error.value.get_codes() == ["max_length"]  # type: ignore[comparison-overlap]  # a list for one field


@pytest.mark.parametrize("text", [" a-b", "a-b ", "a b"])
def test_slug_with_spaces_is_rejected(text: str) -> None:
    with pytest.raises(ValidationError):
        SlugField().run_validation(text)


@pytest.mark.parametrize("data", [{"flag": True, "number": 7}, {"flag": False, "number": 0}])
def test_flags_and_numbers_accept_their_own_types(data: dict[str, Any]) -> None:
    sample = Sample(data=data)
    assert sample.is_valid()
    assert sample.validated_data == data


@pytest.mark.parametrize("data", [{"flag": "yes"}, {"flag": 1}, {"flag": "true"}, {"number": "7"}, {"number": "x"}])
def test_flags_and_numbers_reject_text(data: dict[str, Any]) -> None:
    assert not Sample(data=data).is_valid()


def test_flags_and_numbers_accept_text_in_forms() -> None:
    sample = Sample(data=QueryDict("flag=true&number=7"))
    assert sample.is_valid()
    assert sample.validated_data == {"flag": True, "number": 7}
    assert not Sample(data=QueryDict("number=x")).is_valid()


def test_field_mapping_covers_text_columns() -> None:
    class People(serializers.ModelSerializer[Any]):
        serializer_field_mapping = FIELD_MAPPING

        class Meta:
            model = User
            fields = ["username", "email", "is_staff"]

    fields = People().fields
    assert [type(field) for field in fields.values()] == [TextField, EmailField, serializers.BooleanField]
    assert not People(data={"username": 5, "email": "ada@example.com"}).is_valid()
