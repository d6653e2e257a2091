"""``assert_isolated`` passes what is closed, finds each kind of leak, and says what it could not drive."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import path

from dovetail_tenancy import current_tenant_id, unscoped
from dovetail_tenancy.testing import assert_isolated
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
def test_what_is_closed_passes(given: Any, settings: Any, kind: str) -> None:
    settings.ROOT_URLCONF = CLOSED[kind]
    skip = {"": "the router's index"} if "Default" in kind else {}
    report = assert_isolated(skip=skip, **given)
    assert len(report.driven) == {"function": 5, "function that writes": 1}.get(kind, 7)
    # Everything was undone.
    with unscoped(reason="test"):
        assert not Document.objects.exists()
    assert current_tenant_id() is None


@pytest.mark.parametrize("kind", OPEN)
def test_each_kind_of_leak_is_found(given: Any, settings: Any, kind: str) -> None:
    settings.ROOT_URLCONF, expected = OPEN[kind]
    assert expected in told(settings.ROOT_URLCONF, **given).partition("Could not be driven")[0]


def test_rows_of_ones_own_making(given: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = OPEN["list"][0]

    def make(organization: Any) -> None:
        make_document(organization, f"Plans of {organization.name}", folder=f"Folder of {organization.name}")

    assert "(title)" in told(settings.ROOT_URLCONF, make=make, **given)
    settings.ROOT_URLCONF = CLOSED["viewset"]
    assert assert_isolated(make=make, **given).driven

    def make_alike(organization: Any) -> None:
        make_document(organization, "Plans")

    assert "documents.Document: make= gives both organizations rows with the same texts" in told(
        settings.ROOT_URLCONF, make=make_alike, **given
    )


def test_what_could_not_be_driven_must_be_listed(given: Any, settings: Any) -> None:
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


def test_an_endpoint_that_fails_says_how(given: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = module("broken", path("broken/<uuid:key>/", views.broken))
    assert "GET broken/<uuid:key>/: answers 500 ZeroDivisionError" in told(settings.ROOT_URLCONF, **given)


def test_a_body_that_only_the_project_knows(given: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = module("only_picky", path("picky/", views.PickyJSON.as_view()))
    assert "POST picky/: answers 400" in told(settings.ROOT_URLCONF, **given)
    bodies = {"POST picky/": lambda organization: {"magic": "word", "of": str(organization.pk)}}
    assert assert_isolated(bodies=bodies, **given).driven == {"POST picky/"}


def test_what_is_listed_and_not_there_is_told(given: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = CLOSED["function"]
    found = told(settings.ROOT_URLCONF, skip={"gone/*": "was an endpoint"}, bodies={"POST lost/": dict}, **given)
    assert "no endpoint: 'POST lost/', 'gone/*'" in found


def test_a_model_that_cannot_be_made_says_what_to_give(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dovetail_tenancy.testing import samples

    def nothing(field: Any, number: int) -> list[Any]:
        return []

    monkeypatch.setattr(samples, "_values", nothing)
    with pytest.raises(samples.CannotMake, match=r"Folder cannot be made .*make="):
        assert_isolated(CLOSED["function"], **given)
