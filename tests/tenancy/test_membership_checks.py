"""Checks of a project's own membership model, and the setting for fields with other names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.test.utils import isolate_apps

from dovetail_tenancy.base import AbstractMembership
from dovetail_tenancy.conf import membership_lookups, membership_path
from dovetail_tenancy.organizations import membership_checks, project_models

RENAMED = {"user": "person", "organization": "company", "role": "level"}


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    with isolate_apps("tests.tenancy.documents"):
        yield


def messages(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> dict[str, str]:
    fields = {"__module__": __name__, "Meta": type("Meta", (), {"app_label": "documents"}), **fields}
    model = type("Employment", (models.Model,), fields)
    for module in (membership_checks, project_models):
        monkeypatch.setattr(module, "get_membership_model", lambda: model)
    project_models.add_membership_attributes()
    reported = list(membership_checks.check_membership_model())
    assert all(message.hint for message in reported)
    return {str(message.id).partition(".")[2]: str(message.msg) for message in reported}


def foreign_key(setting: str) -> Any:
    target = apps.get_model(getattr(django_settings, setting))
    return models.ForeignKey(target, models.CASCADE, related_name="+")


def named(user: str, organization: str, role: str, column: Any = None) -> dict[str, Any]:
    return {
        user: foreign_key("AUTH_USER_MODEL"),
        organization: foreign_key("TENANCY_ORGANIZATION_MODEL"),
        role: column or models.CharField(max_length=20),
    }


def test_missing_fields_are_listed_with_the_present_ones(monkeypatch: Any) -> None:
    reported = messages(monkeypatch, named("person", "company", "level"))
    assert "lacks the fields: user (the user), organization" in reported["E002"]
    assert "It has: company, id, level, person." in reported["E002"]
    with pytest.raises(ImproperlyConfigured, match=r"no foreign key 'user'.*person.*TENANCY_MEMBERSHIP_FIELDS"):
        project_models.user_model()


def test_fields_with_other_names_are_read_by_ours(settings: Any, monkeypatch: Any) -> None:
    settings.TENANCY_MEMBERSHIP_FIELDS = RENAMED
    assert messages(monkeypatch, named("person", "company", "level")) == {}
    model: Any = project_models.get_membership_model()
    member = model(**membership_lookups(role="owner", user_id=7))
    member.organization_id = 9
    assert (member.level, member.role, member.person_id, member.user_id, member.company_id) == (
        *("owner", "owner"),
        *(7, 7),
        9,
    )


def test_an_attribute_with_one_of_our_names_is_reported(settings: Any, monkeypatch: Any) -> None:
    settings.TENANCY_MEMBERSHIP_FIELDS = {"role": "level"}
    fields = named("user", "organization", "level")
    assert "to role, but" in messages(monkeypatch, {**fields, "role": models.IntegerField()})["E021"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (named("user", "organization", "role", models.IntegerField()), "role is not text"),
        (named("user", "organization", "role", models.CharField(max_length=3)), "too few for 'billing'"),
        (
            {**named("user", "organization", "role"), "organization": foreign_key("AUTH_USER_MODEL")},
            "organization is not a foreign key to",
        ),
        ({**named("user", "organization", "role"), "user": models.IntegerField()}, "user is not a foreign key"),
    ],
    ids=["integer role", "short role", "other organization", "integer user"],
)
def test_fields_that_cannot_be_written_are_reported(monkeypatch: Any, fields: Any, problem: str) -> None:
    assert problem in messages(monkeypatch, fields)["E020"]


def test_choices_must_be_the_declared_roles(settings: Any, monkeypatch: Any) -> None:
    boss = models.CharField(max_length=20, choices=[("boss", "Boss"), ("member", "Member")])
    reported = messages(monkeypatch, named("user", "organization", "role", boss))
    assert "are boss, member, but the roles of TENANCY_ROLES are owner, admin" in reported["W020"]


def test_equal_choices_pass(settings: Any, monkeypatch: Any) -> None:
    settings.TENANCY_ROLES = {"owner": [], "member": []}
    role = models.CharField(max_length=20, choices={"member": "Member", "owner": "Owner"})
    assert messages(monkeypatch, named("user", "organization", "role", role)) == {}


def test_validation_that_does_not_run_is_reported(settings: Any, monkeypatch: Any) -> None:
    fields = {**named("user", "organization", "role"), "clean": lambda self: None}
    assert "Employment.clean() does not run" in messages(monkeypatch, fields)["W021"]
    settings.TENANCY_BEFORE_ADD_MEMBER = settings.TENANCY_BEFORE_CHANGE_ROLE = print
    assert list(membership_checks.check_membership_model()) == []


def test_paths_are_translated(settings: Any) -> None:
    assert [membership_path(path) for path in ("user", "role")] == ["user", "role"]
    settings.TENANCY_MEMBERSHIP_FIELDS = RENAMED
    paths = ("user", "user_id", "user__is_active", "organization_id", "role")
    assert [membership_path(path) for path in paths] == [
        *("person", "person_id", "person__is_active"),
        *("company_id", "level"),
    ]


def test_membership_model_may_have_a_primary_key_of_another_name() -> None:
    class Employment(AbstractMembership):
        id = None
        number = models.BigAutoField(primary_key=True)

        class Meta(AbstractMembership.Meta):
            app_label = "documents"

    (index,) = Employment._meta.indexes
    assert index.fields == ["organization", "-number"]
