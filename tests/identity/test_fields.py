from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Value
from django.db.models.functions import Concat
from django.utils.translation import gettext_lazy

from dovetail_identity.fields import NormalizedEmailField
from dovetail_identity.models import User
from tests.identity.factories import make_user

pytestmark = pytest.mark.django_db


def test_migrations_import_the_field_from_its_module() -> None:
    _, path, _, kwargs = NormalizedEmailField(unique=True).deconstruct()
    assert path == "dovetail_identity.fields.NormalizedEmailField"
    assert kwargs == {"unique": True, "max_length": 254}


def test_save_normalizes_the_instance() -> None:
    user = User(email="  Ada@Example.COM\n")
    user.save()
    assert user.email == "ada@example.com"
    assert User.objects.get(pk=user.pk).email == "ada@example.com"


@pytest.mark.parametrize("written", ["ada@example.com", "ADA@example.com", " Ada@Example.Com "])
def test_lookups_ignore_case(written: str) -> None:
    user = make_user(email="ada@example.com")
    assert User.objects.get(email=written) == user
    assert User.objects.get(email__in=[written, "linus@example.com"]) == user
    assert User.objects.get(email=gettext_lazy(written)) == user
    assert not User.objects.exclude(email=written).exists()


def test_lookup_uses_the_unique_index() -> None:
    sql, parameters = User.objects.filter(email="Ada@Example.com").values("pk").query.sql_with_params()
    assert parameters == ("ada@example.com",)
    assert "LOWER" not in sql.upper()
    with connection.cursor() as cursor:
        columns = [
            details["columns"]
            for details in connection.introspection.get_constraints(cursor, User._meta.db_table).values()
            if details["unique"] and not details["primary_key"]
        ]
    assert ["email"] in columns


def test_bulk_operations_and_updates_normalize() -> None:
    one, two = User.objects.bulk_create([User(email="One@Example.com"), User(email="TWO@example.com")])
    User.objects.filter(pk=one.pk).update(email="Eins@Example.com")
    two.email = "ZWEI@Example.com"
    User.objects.bulk_update([two], ["email"])
    assert set(User.objects.values_list("email", flat=True)) == {"eins@example.com", "zwei@example.com"}


def test_expressions_are_not_normalized() -> None:
    user = make_user(email="ada@example.com")
    User.objects.filter(pk=user.pk).update(email=Concat(Value("x"), "email"))
    user.refresh_from_db()
    assert user.email == "xada@example.com"


def test_validation_normalizes() -> None:
    field = User._meta.get_field("email")
    assert field.clean(" Ada@Example.com", None) == "ada@example.com"
    with pytest.raises(ValidationError, match="valid email"):
        field.clean("ada", None)


def test_null_is_not_changed() -> None:
    field = NormalizedEmailField(null=True)
    assert field.to_python(None) is None
    assert field.get_prep_value(None) is None
    field.set_attributes_from_name("email")
    assert field.pre_save(User(email=None), add=True) is None
