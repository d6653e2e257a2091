from __future__ import annotations

import io
import subprocess
import sys
import uuid

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import authenticate
from django.contrib.auth import models as auth_models
from django.contrib.auth.models import Permission
from django.core import mail, serializers
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Upper

from dovetail_identity.base import AbstractUser, UserManager
from dovetail_identity.models import User
from tests.identity.factories import PASSWORD, make_user


@pytest.mark.django_db
def test_user_has_a_version_7_uuid_and_no_username() -> None:
    user = make_user()
    assert isinstance(user.pk, uuid.UUID)
    assert user.pk.version == 7
    assert User.USERNAME_FIELD == User.EMAIL_FIELD == "email"
    assert user.username is None
    assert "username" not in {field.name for field in User._meta.get_fields()}
    assert (user.is_active, user.is_staff, user.is_superuser) == (True, False, False)
    assert user.email_verified_at is None


def test_user_inherits_from_django_user() -> None:
    assert issubclass(User, auth_models.AbstractUser)
    assert isinstance(User.objects, auth_models.UserManager)
    assert User.REQUIRED_FIELDS == []
    inherited = ("first_name", "last_name", "is_staff", "is_active", "date_joined", "last_login", "groups")
    theirs, ours = auth_models.AbstractUser._meta, User._meta
    for name in inherited:
        assert type(ours.get_field(name)) is type(theirs.get_field(name)), name
    for name in ("get_full_name", "get_short_name", "email_user", "clean"):
        assert getattr(User, name) is getattr(auth_models.AbstractUser, name), name


@pytest.mark.django_db
def test_manager_accepts_django_keywords() -> None:
    user = User.objects.create_user(email="Ada@Example.com", password=PASSWORD, first_name="Ada", is_staff=True)
    assert (user.email, user.first_name, user.is_staff) == ("ada@example.com", "Ada", True)
    assert user.check_password(PASSWORD)
    assert User.objects.normalize_email(" Ada@Example.com") == "ada@example.com"


@pytest.mark.django_db
@pytest.mark.parametrize("email", ["ada@example.com", "ADA@EXAMPLE.COM", " Ada@example.com "])
def test_address_in_another_case_is_rejected_on_create(email: str) -> None:
    make_user(email="Ada@Example.com")
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create(email=email)
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.bulk_create([User(email=email)])
    assert User.objects.count() == 1


@pytest.mark.django_db
def test_address_in_another_case_is_rejected_in_raw_sql() -> None:
    ada, linus = make_user(email="ada@example.com"), make_user(email="linus@example.com")
    table = connection.ops.quote_name(User._meta.db_table)
    pk = User._meta.pk.get_db_prep_value(linus.pk, connection)
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET email = %s WHERE id = %s", ["ADA@example.com", pk])
    assert User.objects.get(email="ada@example.com") == ada


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor == "mysql", reason="MySQL compares text without case: unique is enough there")
def test_database_rejects_an_address_in_mixed_case() -> None:
    user = make_user(email="ada@example.com")
    table = connection.ops.quote_name(User._meta.db_table)
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET email = UPPER(email)")
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.filter(pk=user.pk).update(email=Upper("email"))


@pytest.mark.django_db
def test_constraint_name_contains_app_and_model() -> None:
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, User._meta.db_table)
    assert constraints["dovetail_identity_user_email_lower"]["check"]


@pytest.mark.django_db
def test_validation_reports_an_existing_address() -> None:
    make_user(email="ada@example.com")
    with pytest.raises(ValidationError) as refused:
        User(email="ADA@example.com", password="x").full_clean()
    assert refused.value.message_dict == {"email": ["A user with that email address already exists."]}


def test_clean_normalizes_like_the_field() -> None:
    # NFKC would convert U+FF41 (a full-width a) to the letter a, which is the address of another person.
    user = User(email=" ａDA@Example.com")
    user.clean()
    assert user.email == "ａda@example.com"
    assert User.normalize_username(None) is None


@pytest.mark.django_db
@pytest.mark.parametrize("email", ["", "   ", None])
def test_user_requires_an_address(email: str) -> None:
    with pytest.raises(ValueError, match="must have an e-mail address"):
        User.objects.create_user(email)


@pytest.mark.django_db
def test_user_without_a_password_has_an_unusable_one() -> None:
    user = User.objects.create_user("ada@example.com")
    assert not user.has_usable_password()


@pytest.mark.django_db
def test_create_superuser() -> None:
    user = User.objects.create_superuser("Root@Example.com", PASSWORD, first_name="Ada")
    assert (user.email, user.first_name, user.is_staff, user.is_superuser) == ("root@example.com", "Ada", True, True)
    for name in ("is_staff", "is_superuser"):
        with pytest.raises(ValueError, match=f"{name}=True; got False"):
            User.objects.create_superuser("other@example.com", **{name: False})


async def _create_users() -> tuple[AbstractUser, AbstractUser]:
    return (
        await User.objects.acreate_user("Ada@Example.com", PASSWORD),
        await User.objects.acreate_superuser("Root@Example.com", PASSWORD),
    )


@pytest.mark.django_db(transaction=True)
def test_manager_creates_users_asynchronously() -> None:
    ada, root = async_to_sync(_create_users)()
    assert (ada.email, ada.is_superuser) == ("ada@example.com", False)
    assert (root.email, root.is_superuser) == ("root@example.com", True)
    assert async_to_sync(User.objects.aget_by_natural_key)("ROOT@example.com") == root


def test_templates_cannot_create_users() -> None:
    for name in ("create_user", "acreate_user", "create_superuser", "acreate_superuser"):
        assert getattr(UserManager, name).alters_data


@pytest.mark.django_db
def test_with_perm_returns_users() -> None:
    user = make_user()
    make_user()
    user.user_permissions.add(Permission.objects.get(codename="view_group"))
    assert list(User.objects.with_perm("auth.view_group", backend="django.contrib.auth.backends.ModelBackend")) == [
        user
    ]


@pytest.mark.django_db
def test_natural_key_and_authentication_ignore_case() -> None:
    user = make_user(email="ada@example.com")
    assert User.objects.get_by_natural_key("ADA@example.com") == user
    assert authenticate(email=" ADA@example.com", password=PASSWORD) == user
    assert authenticate(username="ADA@example.com", password=PASSWORD) == user


@pytest.mark.django_db
def test_createsuperuser_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", "--no-input", "--email=Root@Example.com", stdout=io.StringIO())
    user = User.objects.get(email="root@example.com")
    assert user.is_superuser
    assert user.check_password(PASSWORD)
    with pytest.raises(CommandError, match="already taken"):
        call_command("createsuperuser", "--no-input", "--email=ROOT@example.com", stdout=io.StringIO())


@pytest.mark.django_db
def test_fixtures_with_natural_keys_are_loaded_again() -> None:
    user = make_user(first_name="Ada")
    dumped = serializers.serialize("json", User.objects.all(), use_natural_foreign_keys=True)
    user.delete()
    for loaded in serializers.deserialize("json", dumped):
        loaded.save()
    assert User.objects.get().first_name == "Ada"


def test_validation_accepts_known_languages_and_time_zones() -> None:
    for values in ({}, {"language": "de", "time_zone": "America/Argentina/Buenos_Aires"}):
        User(email="ada@example.com", password="x", **values).clean_fields()


def test_validation_rejects_unknown_languages_and_time_zones() -> None:
    with pytest.raises(ValidationError) as refused:
        User(email="ada@example.com", password="x", language="tlh", time_zone="Mars/Olympus").clean_fields()
    assert set(refused.value.message_dict) == {"language", "time_zone"}


def test_full_name_and_email_user() -> None:
    user = User(email="ada@example.com", first_name="Ada", last_name="Lovelace")
    assert (str(user), user.get_full_name(), user.get_short_name()) == ("ada@example.com", "Ada Lovelace", "Ada")
    assert User(email="ada@example.com", last_name="Lovelace").get_full_name() == "Lovelace"
    user.email_user("Hello", "Body")
    assert [(message.subject, message.to) for message in mail.outbox] == [("Hello", ["ada@example.com"])]


def test_abstract_user_can_be_imported_without_the_app() -> None:
    program = """
from django.conf import settings
settings.configure(INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"])
import django
django.setup()
from dovetail_identity.base import AbstractUser, UserManager
from dovetail_identity.fields import NormalizedEmailField
print(AbstractUser._meta.abstract, isinstance(AbstractUser._meta.get_field("email"), NormalizedEmailField))
"""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("True True\n", "")
