from __future__ import annotations

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.migrations.serializer import serializer_factory
from django.db.migrations.state import ModelState
from django.test import override_settings
from django.test.utils import isolate_apps

from dovetail_core.models import PrimaryKeyIndex, SettingForeignKey, dependency, get_setting_model, named_model, target


@pytest.fixture(autouse=True)
def _owner_model() -> object:
    with override_settings(SAMPLE_OWNER_MODEL="auth.Group"):
        yield


def make(**options: object) -> SettingForeignKey:
    return SettingForeignKey(setting="SAMPLE_OWNER_MODEL", on_delete=models.CASCADE, **options)


@isolate_apps("django.contrib.auth", "django.contrib.contenttypes")
def test_foreign_key_points_to_the_model_in_the_setting() -> None:
    class Key(models.Model):
        owner = make(related_name="+")

        class Meta:
            app_label = "auth"

    field = Key._meta.get_field("owner")
    assert field.remote_field.model == "auth.Group"


def test_migrations_contain_a_plain_foreign_key_to_the_setting() -> None:
    text, imports = serializer_factory(make()).serialize()
    assert "django.db.models.deletion.CASCADE" in text
    assert text.startswith("models.ForeignKey(")
    assert "to=settings.SAMPLE_OWNER_MODEL" in text
    assert imports >= {"from django.conf import settings", "from django.db import models"}


@pytest.mark.parametrize("model", ["auth.User", "nowhere.Model"])
def test_inherited_key_to_a_model_of_the_first_migration_keeps_the_setting(model: str) -> None:
    with override_settings(SAMPLE_OWNER_MODEL=model):
        assert "to=settings.SAMPLE_OWNER_MODEL" in serializer_factory(make(inherited=True)).serialize()[0]


def test_inherited_key_to_a_later_model_contains_its_label() -> None:
    # No migration of auth creates this model.
    with override_settings(SAMPLE_OWNER_MODEL="auth.Missing"):
        assert "to='auth.missing'" in serializer_factory(make(inherited=True)).serialize()[0]


def test_clone_deconstructs_equally() -> None:
    clone = make(inherited=True, null=True, db_index=False).clone()
    assert isinstance(clone, SettingForeignKey)
    assert (clone.setting, clone.inherited, clone.null, clone.db_index) == ("SAMPLE_OWNER_MODEL", True, True, False)
    assert clone.deconstruct() == make(inherited=True, null=True, db_index=False).deconstruct()


@pytest.mark.parametrize(
    ("value", "shown"), [("Group", "'Group'"), ("a.b.C", "'a.b.C'"), (None, "not set"), (7, "7"), ("", "''")]
)
def test_invalid_label_raises_with_the_expected_form(value: object, shown: str) -> None:
    with override_settings(SAMPLE_OWNER_MODEL=value), pytest.raises(ImproperlyConfigured) as refusal:
        make()
    assert str(refusal.value) == (
        f"SAMPLE_OWNER_MODEL is {shown}. It must be the label of a model in the form "
        "'app_label.ModelName', such as 'auth.User' or one of your own models."
    )


def test_missing_setting_raises() -> None:
    with override_settings():
        del settings.SAMPLE_OWNER_MODEL
        with pytest.raises(ImproperlyConfigured, match=r"^SAMPLE_OWNER_MODEL is not set"):
            named_model("SAMPLE_OWNER_MODEL")


def test_dependency_contains_the_creating_migration_and_the_setting() -> None:
    migration = dependency("SAMPLE_OWNER_MODEL")
    assert migration == ("auth", "0001_initial")
    assert migration.setting == "SAMPLE_OWNER_MODEL"  # type: ignore[attr-defined]  # Django's SwappableTuple
    assert target("SAMPLE_OWNER_MODEL") == "auth.Group"


@pytest.mark.parametrize("model", ["nowhere.Model", "auth.Missing"])
def test_dependency_defaults_to_the_first_migration_of_the_app(model: str) -> None:
    with override_settings(SAMPLE_OWNER_MODEL=model):
        app_label = model.split(".")[0]
        assert dependency("SAMPLE_OWNER_MODEL") == (app_label, "__first__")
        assert target("SAMPLE_OWNER_MODEL") == model


def test_get_setting_model_reads_the_setting_live() -> None:
    assert get_setting_model("SAMPLE_OWNER_MODEL") is Group
    with override_settings(SAMPLE_OWNER_MODEL="auth.Permission"):
        assert get_setting_model("SAMPLE_OWNER_MODEL") is Permission
    assert get_setting_model("SAMPLE_OWNER_MODEL") is Group


def test_get_setting_model_is_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    get_setting_model("SAMPLE_OWNER_MODEL")
    monkeypatch.setattr(apps, "get_model", None)
    assert get_setting_model("SAMPLE_OWNER_MODEL") is Group


def test_get_setting_model_does_not_cache_errors() -> None:
    with override_settings(SAMPLE_OWNER_MODEL="auth.Missing"):
        for _ in range(2):
            with pytest.raises(LookupError):
                get_setting_model("SAMPLE_OWNER_MODEL")


@isolate_apps("django.contrib.auth")
def test_primary_key_index_is_a_plain_index_on_the_model_s_own_key() -> None:
    class Newest(models.Model):
        owner = models.CharField(max_length=10)

        class Meta:
            abstract = True
            app_label = "auth"
            indexes = [PrimaryKeyIndex(fields=["owner", "-pk"])]

    class Numbered(Newest):
        pass

    class Coded(Newest):
        code = models.CharField(max_length=10, primary_key=True)

    for model, key in ((Numbered, "-id"), (Coded, "-code")):
        plain = models.Index(fields=["owner", key])
        plain.set_name_with_model(model)
        (index,) = model._meta.indexes
        assert index.deconstruct() == plain.deconstruct()
        assert ModelState.from_model(model).options["indexes"] == [plain]  # makemigrations compares them with ==
        assert model.check() == []
