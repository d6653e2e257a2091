"""System checks report invalid configuration with a hint."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import checks as django_checks
from django.db import models
from django.test.utils import isolate_apps

from dovetail_tenancy import checks
from dovetail_tenancy.models import OrganizationForeignKey, TenantModel


def found(settings: Any, **values: Any) -> dict[str, str]:
    for name, value in values.items():
        setattr(settings, f"TENANCY_{name}", value)
    messages = [*checks.check_settings(None), *checks.check_invitations(None)]
    assert all(message.hint for message in messages)
    return {str(message.id).partition(".")[2]: message.msg for message in messages}


def test_the_lane_passes_all_checks() -> None:
    assert [each for each in django_checks.run_checks() if str(each.id).startswith("dovetail_tenancy")] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INVITATION_ACCEPT_URL", "/invitations#token={token}"),
        ("INVITATION_ACCEPT_URL", "//app.example.com/{token}"),
        ("INVITATION_ACCEPT_URL", "https://app.example.com/invitations"),
        ("INVITATION_ACCEPT_URL", 7),
        ("INVITATION_EXPIRY_DAYS", 0),
        ("INVITATION_SENDER", None),
        ("INVITATION_SENDER", "nowhere.at_all"),
        ("MAX_MEMBERS", -1),
        ("MAX_MEMBERS", True),
        ("MAX_ORGANIZATIONS", "nowhere.at_all"),
        ("BEFORE_INVITE", 7),
        ("ROLES", {"admin": []}),
    ],
)
def test_an_invalid_value_is_an_error(settings: Any, name: str, value: Any) -> None:
    assert f"TENANCY_{name} is {value!r}" in found(settings, **{name: value})["E001"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAX_MEMBERS", 0), ("MAX_MEMBERS", lambda *, organization: 3), ("BEFORE_INVITE", print)],
)
def test_a_valid_value_passes(settings: Any, name: str, value: Any) -> None:
    assert found(settings, **{name: value}) == {}


def test_sign_up_requires_a_token_issuer(settings: Any) -> None:
    assert "TENANCY_INVITATION_SIGNUP" in found(settings, INVITATION_SIGNUP=True)["E005"]
    assert found(settings, INVITATION_SIGNUP=True, TOKEN_ISSUER=print) == {}


def test_served_invitations_require_an_accept_url(settings: Any) -> None:
    assert "TENANCY_INVITATION_ACCEPT_URL" in found(settings, INVITATION_ACCEPT_URL="")["E006"]
    # A project without the invitation endpoints needs no page for them.
    settings.ROOT_URLCONF = "tests.tenancy.documents.urls"
    assert found(settings) == {}
    del settings.ROOT_URLCONF
    assert found(settings) == {}


@isolate_apps("tests.tenancy.documents")
def test_tenant_models_that_are_not_isolated_are_reported() -> None:
    class Folder(TenantModel):
        organization = OrganizationForeignKey(db_index=False, related_name="+")
        objects = models.Manager()  # type: ignore[assignment,misc]  # the mistake
        name = models.CharField(max_length=10, unique=True)

        class Meta:
            app_label = "documents"

    class Sheet(TenantModel):
        organization = OrganizationForeignKey(db_index=False, related_name="+")
        folder = models.ForeignKey(Folder, models.CASCADE, related_name="+")

        class Meta(TenantModel.Meta):
            app_label = "documents"
            indexes = [models.Index(fields=["organization", "folder"], name="sheet_index")]

    assert ids(Folder) == ["E003", "E003", "W003", "W005"]
    assert ids(Sheet) == ["E004"]


@isolate_apps("tests.tenancy.documents")
@pytest.mark.parametrize(
    "meta",
    [
        {"indexes": [models.Index(fields=["-organization", "name"], name="by_name")]},
        {"constraints": [models.UniqueConstraint(fields=["organization", "name"], name="once")]},
        {"unique_together": [("organization", "name")]},
    ],
    ids=lambda meta: next(iter(meta)),
)
def test_any_index_that_begins_with_the_organization_passes(meta: Any) -> None:
    organization = OrganizationForeignKey(db_index=False, related_name="+")
    options = type("Meta", (), {"app_label": "documents", "base_manager_name": "objects", **meta})
    attributes = {"__module__": __name__, "Meta": options, "organization": organization}
    model = type("Page", (TenantModel,), {**attributes, "name": models.CharField(max_length=10)})
    assert ids(model) == []


def ids(model: Any) -> list[str]:
    found = [*checks._managers(model), *checks._foreign_keys(model), *checks._uniqueness(model), *checks._index(model)]
    assert all(message.hint for message in found)
    return [str(message.id).partition(".")[2] for message in found]
