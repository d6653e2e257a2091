from __future__ import annotations

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.migrations.serializer import serializer_factory
from django.test import override_settings
from django.test.utils import isolate_apps

from dovetail_core.models import SettingForeignKey, dependency, get_setting_model, named_model, target


@pytest.fixture(autouse=True)
def _owner_model() -> object:
    with override_settings(SAMPLE_OWNER_MODEL="auth.Group"):
        yield


def make(**options: object) -> SettingForeignKey:
    return SettingForeignKey(setting="SAMPLE_OWNER_MODEL", on_delete=models.CASCADE, **options)


@isolate_apps("django.contrib.auth", "django.contrib.contenttypes")
def test_it_points_at_the_model_that_the_setting_names() -> None:
    class Key(models.Model):
        owner = make(related_name="+")

        class Meta:
            app_label = "auth"

    field = Key._meta.get_field("owner")
    assert field.remote_field.model == "auth.Group"


def test_migrations_write_a_plain_foreign_key_to_the_setting() -> None:
    text, imports = serializer_factory(make()).serialize()
    assert "django.db.models.deletion.CASCADE" in text
    assert text.startswith("models.ForeignKey(")
    assert "to=settings.SAMPLE_OWNER_MODEL" in text
    assert imports >= {"from django.conf import settings", "from django.db import models"}


@pytest.mark.parametrize("model", ["auth.User", "nowhere.Model"])
def test_an_inherited_one_keeps_the_setting_where_the_first_migration_creates_the_model(model: str) -> None:
    with override_settings(SAMPLE_OWNER_MODEL=model):
        assert "to=settings.SAMPLE_OWNER_MODEL" in serializer_factory(make(inherited=True)).serialize()[0]


def test_an_inherited_one_names_a_model_that_its_app_created_later() -> None:
    # auth has migrations, and none of them creates this.
    with override_settings(SAMPLE_OWNER_MODEL="auth.Missing"):
        assert "to='auth.missing'" in serializer_factory(make(inherited=True)).serialize()[0]


def test_a_clone_is_the_same_field() -> None:
    clone = make(inherited=True, null=True, db_index=False).clone()
    assert isinstance(clone, SettingForeignKey)
    assert (clone.setting, clone.inherited, clone.null, clone.db_index) == ("SAMPLE_OWNER_MODEL", True, True, False)
    assert clone.deconstruct() == make(inherited=True, null=True, db_index=False).deconstruct()


@pytest.mark.parametrize(
    ("value", "found"), [("Group", "'Group'"), ("a.b.C", "'a.b.C'"), (None, "not set"), (7, "7"), ("", "''")]
)
def test_a_setting_that_is_no_label_says_what_it_takes(value: object, found: str) -> None:
    with override_settings(SAMPLE_OWNER_MODEL=value), pytest.raises(ImproperlyConfigured) as refusal:
        make()
    assert str(refusal.value) == (
        f"SAMPLE_OWNER_MODEL is {found}. It takes the label of a model, as "
        "'app_label.ModelName': one of your own models or 'auth.User'."
    )


def test_a_setting_that_is_missing_says_so() -> None:
    with override_settings():
        del settings.SAMPLE_OWNER_MODEL
        with pytest.raises(ImproperlyConfigured, match=r"^SAMPLE_OWNER_MODEL is not set"):
            named_model("SAMPLE_OWNER_MODEL")


def test_the_dependency_is_on_the_migration_that_creates_the_model_and_remembers_its_setting() -> None:
    found = dependency("SAMPLE_OWNER_MODEL")
    assert found == ("auth", "0001_initial")
    assert found.setting == "SAMPLE_OWNER_MODEL"  # type: ignore[attr-defined]  # Django's SwappableTuple
    assert target("SAMPLE_OWNER_MODEL") == "auth.Group"


@pytest.mark.parametrize("model", ["nowhere.Model", "auth.Missing"])
def test_what_no_migration_creates_is_left_to_the_first_of_its_app(model: str) -> None:
    with override_settings(SAMPLE_OWNER_MODEL=model):
        app_label = model.split(".")[0]
        assert dependency("SAMPLE_OWNER_MODEL") == (app_label, "__first__")
        assert target("SAMPLE_OWNER_MODEL") == model


def test_get_setting_model_returns_the_class_of_the_present_label() -> None:
    assert get_setting_model("SAMPLE_OWNER_MODEL") is Group
    with override_settings(SAMPLE_OWNER_MODEL="auth.Permission"):
        assert get_setting_model("SAMPLE_OWNER_MODEL") is Permission
    assert get_setting_model("SAMPLE_OWNER_MODEL") is Group


def test_get_setting_model_resolves_a_label_once(monkeypatch: pytest.MonkeyPatch) -> None:
    get_setting_model("SAMPLE_OWNER_MODEL")
    monkeypatch.setattr(apps, "get_model", None)
    assert get_setting_model("SAMPLE_OWNER_MODEL") is Group


def test_get_setting_model_fails_anew_for_a_model_that_is_not_installed() -> None:
    with override_settings(SAMPLE_OWNER_MODEL="auth.Missing"):
        for _ in range(2):
            with pytest.raises(LookupError):
                get_setting_model("SAMPLE_OWNER_MODEL")
