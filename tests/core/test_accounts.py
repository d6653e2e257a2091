from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import models
from django.test.utils import isolate_apps

from dovetail_core import accounts

pytestmark = pytest.mark.django_db


def make(username: str = "ada", **values: Any) -> User:
    return User.objects.create(username=username, **{"email": "Ada@Example.com", **values})


def test_email_field_is_the_one_named_by_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accounts.email_field().name == "email"
    monkeypatch.setattr(User, "EMAIL_FIELD", "username")
    assert accounts.email_field().name == "username"
    assert accounts.email_field(make()).name == "username"
    assert accounts.email_field(Group) is None
    assert accounts.has_field(User, "last_login")
    assert not accounts.has_field(Group, "last_login")


def test_second_factor_app_is_the_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accounts.second_factor_app() is None
    monkeypatch.setattr(accounts, "SECOND_FACTOR_APPS", ("django_otp", "django.contrib.auth"))
    assert accounts.second_factor_app() == "django.contrib.auth"


def test_address_of_returns_the_stored_address() -> None:
    assert accounts.address_of(make()) == "Ada@Example.com"
    assert accounts.address_of(make("bo", email="")) == ""
    assert accounts.address_of(Group(name="ada@example.com")) == ""


def test_label_prefers_full_name_then_address_then_username() -> None:
    user = make(first_name="Ada", last_name="Lovelace")
    assert accounts.label_of(user) == "Ada Lovelace"
    assert accounts.label_of(make("bo")) == "Ada@Example.com"
    assert accounts.label_of(make("cy", email="")) == "cy"


def test_label_of_an_account_without_a_full_name_is_its_username() -> None:
    class Stored:
        _meta = Group._meta

        def get_username(self) -> str:
            return "dee"

    assert accounts.label_of(Stored()) == "dee"


def test_inactive_account_may_not_sign_in() -> None:
    assert accounts.may_sign_in(make())
    assert not accounts.may_sign_in(make("bo", is_active=False))
    assert accounts.may_sign_in(object())
    assert [user.username for user in accounts.active(User.objects.all())] == ["ada"]
    assert accounts.active(Group.objects.all()).query.where.children == []


@pytest.mark.parametrize("address", ["ada@example.com", " ADA@example.COM "])
def test_accounts_with_ignores_case(address: str) -> None:
    ada, inactive, _other = make(), make("bo", is_active=False), make("cy", email="cy@example.com")
    assert {user.pk for user in accounts.accounts_with(address)} == {ada.pk, inactive.pk}
    assert accounts.accounts_with(address, active_only=True) == [ada]
    assert len(accounts.accounts_with(address, limit=1)) == 1
    assert accounts.same_address(ada, address)
    assert not accounts.same_address(ada, "cy@example.com")


@pytest.mark.parametrize("address", ["", "  ", "ada\0@example.com"])
def test_accounts_with_an_invalid_address_is_empty(address: str, django_assert_num_queries: Any) -> None:
    make(email="")
    with django_assert_num_queries(0):
        assert accounts.accounts_with(address) == []


def test_accounts_with_is_empty_for_a_model_without_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    monkeypatch.setattr(User, "EMAIL_FIELD", "nowhere")
    assert accounts.accounts_with("ada@example.com") == []


def test_lookup_by_a_normalizing_field_uses_the_plain_index(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    user = make(email="ada@example.com")
    field = accounts.email_field()
    monkeypatch.setattr(field, "get_prep_value", lambda value: str(value).lower())
    with django_assert_num_queries(1) as statements:
        assert accounts.accounts_with("ADA@example.com") == [user]
    assert "LIKE" not in statements[0]["sql"]
    assert "UPPER" not in statements[0]["sql"]


def test_required_fields_have_no_default() -> None:
    assert accounts.required_fields(get_user_model()) == {"username", "password"}
    assert accounts.required_fields(Group) == {"name"}


@isolate_apps("django.contrib.auth")
def test_required_fields_exclude_those_that_django_or_the_database_supplies() -> None:
    class Sample(models.Model):
        id = models.CharField(max_length=9, primary_key=True)
        made = models.DateTimeField(auto_now_add=True)
        changed = models.DateTimeField(auto_now=True)
        counted = models.IntegerField(db_default=1)
        doubled = models.GeneratedField(
            expression=models.F("counted") * 2, output_field=models.IntegerField(), db_persist=True
        )

        class Meta:
            app_label = "auth"

    assert accounts.required_fields(Sample) == {"id"}


def test_passwordless_account_has_its_address_as_username() -> None:
    user = accounts.create_passwordless_account("ada@example.com")
    assert User.objects.get() == user
    assert (user.username, user.email, user.has_usable_password()) == ("ada@example.com", "ada@example.com", False)
    with pytest.raises(ValidationError):
        accounts.create_passwordless_account("ada@example.com")


@pytest.mark.parametrize("address", ["o'neil@example.com", "a" * 151, ""])
def test_passwordless_account_is_validated(address: str) -> None:
    with pytest.raises(ValidationError):
        accounts.create_passwordless_account(address)
    assert not User.objects.exists()


def test_passwordless_account_of_a_model_without_addresses_has_a_username(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User, "EMAIL_FIELD", "nowhere")
    user = accounts.create_passwordless_account("ada@example.com", User)
    assert (user.username, user.email) == ("ada@example.com", "")


@isolate_apps("django.contrib.auth")
def test_model_without_username_and_password_can_be_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user model need not inherit ``AbstractBaseUser``."""

    class Person(models.Model):
        email = models.EmailField()

        class Meta:
            app_label = "auth"

        def __str__(self) -> str:
            return "a person"

    monkeypatch.setattr(Person, "save", lambda self: None)
    person = accounts.create_passwordless_account("ada@example.com", Person)
    assert (accounts.label_of(person), accounts.label_of(Person())) == ("ada@example.com", "a person")
    monkeypatch.setattr(Person, "EMAIL_FIELD", "nowhere", raising=False)
    with pytest.raises(ValidationError, match="Person has no field for an e-mail address"):
        accounts.create_passwordless_account("ada@example.com", Person)
