"""``assert_isolated`` accepts isolated endpoints and reports each kind of leak and each untested endpoint."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import path

from dovetail_tenancy import current_tenant_id, unscoped
from dovetail_tenancy.testing import CannotMake, assert_isolated
from tests.tenancy.documents.factories import make_document
from tests.tenancy.documents.models import Document
from tests.tenancy.factories import make_organization, make_user
from tests.tenancy.leaky import views
from tests.tenancy.leaky.urls import CLOSED, OPEN, module

pytestmark = pytest.mark.django_db


@pytest.fixture
def given(settings: Any) -> dict[str, Any]:
    user = make_user()
    return {"mine": make_organization("Acme", owner=user), "theirs": make_organization("Globex"), "user": user}


def told(urlconf: str, **given: Any) -> str:
    with pytest.raises(AssertionError) as raised:
        assert_isolated(urlconf, **given)
    return str(raised.value)


@pytest.mark.parametrize("kind", CLOSED)
def test_isolated_endpoints_pass(given: Any, settings: Any, kind: str) -> None:
    settings.ROOT_URLCONF = CLOSED[kind]
    skip = {"": "the router's index"} if "Default" in kind else {}
    report = assert_isolated(skip=skip, **given)
    assert len(report.tested) == {"function": 5, "function that writes": 1}.get(kind, 7)
    # All changes are rolled back.
    with unscoped(reason="test"):
        assert not Document.objects.exists()
    assert current_tenant_id() is None


@pytest.mark.parametrize("kind", OPEN)
def test_each_kind_of_leak_is_reported(given: Any, settings: Any, kind: str) -> None:
    settings.ROOT_URLCONF, expected = OPEN[kind]
    assert expected in told(settings.ROOT_URLCONF, **given).partition("Not tested:")[0]


def test_make_creates_the_rows(given: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = OPEN["list"][0]

    def make(organization: Any) -> None:
        make_document(organization, f"Plans of {organization.name}", folder=f"Folder of {organization.name}")

    assert "(title)" in told(settings.ROOT_URLCONF, make=make, **given)
    settings.ROOT_URLCONF = CLOSED["viewset"]
    assert assert_isolated(make=make, **given).tested

    def make_alike(organization: Any) -> None:
        make_document(organization, "Plans")

    assert "documents.Document: make= gives both organizations the same texts" in told(
        settings.ROOT_URLCONF, make=make_alike, **given
    )


def test_untested_endpoints_fail_unless_skipped(given: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = module("picky", path("picky/", views.picky), path("nowhere/<int:number>/", views.picky))
    found = told(settings.ROOT_URLCONF, **given)
    assert "POST picky/: answers 400" in found
    assert "GET nowhere/<int:number>/: refuses every row of ours in its path" in found
    assert "skip=" in found
    skip = {"nowhere/*": "no row has a number", "GET picky/": "no page", "DELETE picky/": "none"}
    skip |= {"PUT picky/": "none", "PATCH picky/": "none"}
    found = told(settings.ROOT_URLCONF, skip=skip, **given)
    assert "POST picky/" in found
    assert "PUT picky/" not in found


def test_server_error_is_reported(given: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = module("broken", path("broken/<uuid:key>/", views.broken))
    assert "GET broken/<uuid:key>/: answers 500 ZeroDivisionError" in told(settings.ROOT_URLCONF, **given)


def test_bodies_supply_accepted_bodies(given: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = module("only_picky", path("picky/", views.PickyJSON.as_view()))
    assert "POST picky/: answers 400" in told(settings.ROOT_URLCONF, **given)
    bodies = {"POST picky/": lambda organization: {"magic": "word", "of": str(organization.pk)}}
    assert assert_isolated(bodies=bodies, **given).tested == {"POST picky/"}


def test_stale_entries_are_reported(given: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = CLOSED["function"]
    found = told(settings.ROOT_URLCONF, skip={"gone/*": "was an endpoint"}, bodies={"POST lost/": dict}, **given)
    assert "match no endpoint: 'POST lost/', 'gone/*'" in found


def test_model_without_sample_values_raises_cannot_make(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dovetail_tenancy.testing import rows

    def nothing(field: Any, number: int) -> list[Any]:
        return []

    monkeypatch.setattr(rows, "_values", nothing)
    with pytest.raises(CannotMake, match=r"Folder cannot be created .*make="):
        assert_isolated(CLOSED["function"], **given)
