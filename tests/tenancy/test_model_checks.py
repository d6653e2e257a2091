"""System checks report tenant models that would show other organizations' rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage
from django.db import models
from django.test.utils import isolate_apps

from dovetail_tenancy import checks, get_organization_model
from dovetail_tenancy.models import (
    OrganizationForeignKey,
    TenantForeignKey,
    TenantManager,
    TenantModel,
    TenantOneToOneField,
)
from tests.tenancy.documents.models import Folder
from tests.tenancy.lending.models import Librarian  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _apps() -> Iterator[None]:
    with isolate_apps("tests.tenancy.documents"):
        yield


def model(bases: tuple[Any, ...] = (TenantModel,), **attributes: Any) -> Any:
    meta = type("Meta", (), {"app_label": "documents", **attributes.pop("meta", {})})
    if TenantModel in bases:
        # The class itself, because this test's registry does not know its label.
        attributes["organization"] = OrganizationForeignKey(get_organization_model(), related_name="+")
    return type("Letter", bases, {"__module__": __name__, "Meta": meta, **attributes})


def ids(check: Callable[..., Iterator[CheckMessage]], of: Any) -> list[str]:
    found = list(check(of))
    assert all(message.hint for message in found)
    return [str(message.id).partition(".")[2] for message in found]


class Plain(models.QuerySet[Any]):
    pass


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, []),
        ({"objects": TenantManager()}, []),
        ({"objects": models.Manager()}, ["E003", "E003"]),
        ({"everything": models.Manager(), "meta": {"base_manager_name": "everything"}}, ["E003", "E003"]),
        # A TenantManager whose querysets do not check writes.
        ({"objects": TenantManager.from_queryset(Plain)()}, ["E003", "E003"]),
    ],
    ids=["inherited", "own", "plain", "plain base", "plain queryset"],
)
def test_an_unrestricted_manager_is_reported(attributes: dict[str, Any], expected: list[str]) -> None:
    assert ids(checks._managers, model(**attributes)) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (models.ForeignKey(Folder, models.CASCADE, related_name="+"), ["E004"]),
        (models.OneToOneField(Folder, models.CASCADE, related_name="+"), ["E004"]),
        (models.ForeignKey(get_user_model(), models.CASCADE, related_name="+"), ["W002"]),
        (TenantForeignKey(Folder, models.CASCADE, related_name="+"), []),
        (TenantOneToOneField(Folder, models.CASCADE, related_name="+"), []),
        (TenantForeignKey(get_user_model(), models.CASCADE, related_name="+"), []),
    ],
)
def test_a_plain_foreign_key_is_reported(field: Any, expected: list[str]) -> None:
    assert ids(checks._foreign_keys, model(to=field)) == expected


def test_a_child_of_a_tenant_model_passes() -> None:
    child = model((Folder,))
    assert ids(checks._foreign_keys, child) == []
    assert ids(checks._managers, child) == []


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"number": models.IntegerField(unique=True)}, ["W003"]),
        ({"number": models.IntegerField(), "meta": {"unique_together": [("number",)]}}, ["W003"]),
        ({"number": models.IntegerField(), "meta": {"unique_together": [("organization", "number")]}}, []),
        ({"folder": TenantOneToOneField(Folder, models.CASCADE, related_name="+")}, []),
        ({"user": TenantOneToOneField(get_user_model(), models.CASCADE, related_name="+")}, ["W003"]),
    ],
)
def test_uniqueness_across_organizations_is_reported(attributes: dict[str, Any], expected: list[str]) -> None:
    assert ids(checks._uniqueness, model(**attributes)) == expected


def test_migrations_have_plain_foreign_keys() -> None:
    for field, path in (
        (TenantForeignKey(Folder, models.PROTECT), "django.db.models.ForeignKey"),
        (TenantOneToOneField(Folder, models.PROTECT), "django.db.models.OneToOneField"),
    ):
        assert field.deconstruct()[1] == path
        assert field.deconstruct()[3]["on_delete"] is models.PROTECT
    # The on_delete that is wrapped at start-up is deconstructed as declared.
    assert Librarian._meta.get_field("person_ptr").deconstruct()[3]["on_delete"] is models.CASCADE
