"""System checks report invalid configuration with a hint."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.sites import AdminSite, all_sites
from django.contrib.auth.models import Permission
from django.core import checks as django_checks
from django.db import models
from django.test.utils import isolate_apps

import dovetail_core.admin
from dovetail_core.admin import LimitToOrganizations
from dovetail_tenancy import checks
from dovetail_tenancy.models import Invitation, OrganizationForeignKey, TenantModel


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
        ("MEMBERSHIP_FIELDS", ["person"]),
        ("MEMBERSHIP_FIELDS", {"person": "user"}),
        ("MEMBERSHIP_FIELDS", {"user": "a.b"}),
        ("ORGANIZATION_CREATION", "yes"),
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


def test_deployment_with_proxies_checks_their_headers(settings: Any) -> None:
    settings.DOVETAIL_TRUSTED_PROXIES = ["10.0.0.1"]
    messages = django_checks.run_checks(tags=["security"], include_deployment_checks=True)
    assert "dovetail_core.W005" in [message.id for message in messages]


def test_admin_of_rows_of_another_organization_model_is_named(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(LimitToOrganizations, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
        pass

    class Other(Plain):
        organization_field = "content_type"

    site = AdminSite()
    # Checks of other tests would see it until it is collected as garbage.
    all_sites.discard(site)
    monkeypatch.setattr(dovetail_core.admin, "all_sites", {site})
    site.register(Invitation, Plain)
    assert [*checks.check_admins(None)] == []
    site.register(Permission, Other)
    (message,) = checks.check_admins(None)
    assert (message.id, message.obj, bool(message.hint)) == ("dovetail_tenancy.W022", Other, True)
    settings.DOVETAIL_ADMIN_ORGANIZATIONS = lambda request: None
    assert [*checks.check_admins(None)] == []


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
        {"indexes": [models.Index(fields=["organization_id", "name"], name="by_key")]},
        {"indexes": [models.Index(models.F("organization").desc(), name="by_expression")]},
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
