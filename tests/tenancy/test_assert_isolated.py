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
def arguments(settings: Any) -> dict[str, Any]:
    user = make_user()
    return {"mine": make_organization("Acme", owner=user), "theirs": make_organization("Globex"), "user": user}


def failure_of(urlconf: str, **arguments: Any) -> str:
    with pytest.raises(AssertionError) as raised:
        assert_isolated(urlconf, **arguments)
    return str(raised.value)


@pytest.mark.parametrize("kind", CLOSED)
def test_isolated_endpoints_pass(arguments: Any, settings: Any, kind: str) -> None:
    settings.ROOT_URLCONF = CLOSED[kind]
    skip = {"": "the router's index"} if "Default" in kind else {}
    report = assert_isolated(skip=skip, **arguments)
    assert len(report.tested) == {"function": 5, "function that writes": 1}.get(kind, 7)
    # All changes are rolled back.
    with unscoped(reason="test"):
        assert not Document.objects.exists()
    assert current_tenant_id() is None


@pytest.mark.parametrize("kind", OPEN)
def test_each_kind_of_leak_is_reported(arguments: Any, settings: Any, kind: str) -> None:
    settings.ROOT_URLCONF, expected = OPEN[kind]
    assert expected in failure_of(settings.ROOT_URLCONF, **arguments).partition("Not tested:")[0]


def test_make_creates_the_rows(arguments: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = OPEN["list"][0]

    def make(organization: Any) -> None:
        make_document(organization, f"Plans of {organization.name}", folder=f"Folder of {organization.name}")

    assert "(title)" in failure_of(settings.ROOT_URLCONF, make=make, **arguments)
    settings.ROOT_URLCONF = CLOSED["viewset"]
    assert assert_isolated(make=make, **arguments).tested

    def make_alike(organization: Any) -> None:
        make_document(organization, "Plans")

    assert "documents.Document: make= gives both organizations the same texts" in failure_of(
        settings.ROOT_URLCONF, make=make_alike, **arguments
    )


def test_untested_endpoints_fail_unless_skipped(arguments: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = module("picky", path("picky/", views.picky), path("nowhere/<int:number>/", views.picky))
    failure = failure_of(settings.ROOT_URLCONF, **arguments)
    assert "POST picky/: answers 400" in failure
    assert "GET nowhere/<int:number>/: refuses every row of ours in its path" in failure
    assert "skip=" in failure
    skip = {"nowhere/*": "no row has a number", "GET picky/": "no page", "DELETE picky/": "none"}
    skip |= {"PUT picky/": "none", "PATCH picky/": "none"}
    failure = failure_of(settings.ROOT_URLCONF, skip=skip, **arguments)
    assert "POST picky/" in failure
    assert "PUT picky/" not in failure


def test_server_error_is_reported(arguments: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = module("broken", path("broken/<uuid:key>/", views.broken))
    assert "GET broken/<uuid:key>/: answers 500 ZeroDivisionError" in failure_of(settings.ROOT_URLCONF, **arguments)


def test_bodies_supply_accepted_bodies(arguments: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = module("only_picky", path("picky/", views.PickyJSON.as_view()))
    assert "POST picky/: answers 400" in failure_of(settings.ROOT_URLCONF, **arguments)
    bodies = {"POST picky/": lambda organization: {"magic": "word", "of": str(organization.pk)}}
    assert assert_isolated(bodies=bodies, **arguments).tested == {"POST picky/"}


def test_stale_entries_are_reported(arguments: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = CLOSED["function"]
    failure = failure_of(
        settings.ROOT_URLCONF, skip={"gone/*": "was an endpoint"}, bodies={"POST lost/": dict}, **arguments
    )
    assert "match no endpoint: 'POST lost/', 'gone/*'" in failure


def test_model_without_sample_values_raises_cannot_make(arguments: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dovetail_tenancy.testing import rows

    def nothing(field: Any, number: int) -> list[Any]:
        return []

    monkeypatch.setattr(rows, "_values", nothing)
    with pytest.raises(CannotMake, match=r"Folder cannot be created .*make="):
        assert_isolated(CLOSED["function"], **arguments)
