"""``TENANCY_ENFORCEMENT = "report"``: an existing project still works, and its log names the code to adapt."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from django.test import Client

from dovetail_tenancy import TenantMismatch, tenant
from tests.tenancy.documents.factories import make_document, make_membership, make_organization, make_user
from tests.tenancy.documents.models import Document, Folder

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _report(settings: Any) -> None:
    settings.TENANCY_ENFORCEMENT = "report"


@pytest.fixture
def acme() -> Any:
    organization = make_organization("Acme")
    make_document(organization, "ours")
    return organization


def reports(caplog: Any) -> list[Any]:
    return [record for record in caplog.records if record.getMessage().startswith("no organization")]


def test_every_unscoped_access_is_logged_with_its_line(acme: Any, caplog: Any) -> None:
    make_document(make_organization("Globex"), "theirs")
    caplog.clear()
    line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
    assert Document.objects.count() == 2
    (record,) = reports(caplog)
    assert record.levelname == "WARNING"
    assert record.place == f"{__file__}:{line}"
    assert record.getMessage() == f"no organization: A query on documents.Document at {__file__}:{line}"
    Document.objects.update(title="same")
    Document.objects.get(title="same", organization=acme).save()
    Folder.objects.filter(organization=acme).delete()
    assert len({record.place for record in reports(caplog)}) == 4
    assert {record.place.partition(":")[0] for record in reports(caplog)} == {__file__}


def test_access_with_an_organization_is_still_enforced(acme: Any, caplog: Any) -> None:
    globex = make_organization("Globex")
    with tenant(globex):
        assert not Document.objects.exists()
        with pytest.raises(TenantMismatch):
            Folder.objects.create(organization=acme, name="x")
    assert not reports(caplog)


@pytest.mark.parametrize("path", ["/titles/", "/stream/"])
def test_a_view_without_organizations_still_works(acme: Any, caplog: Any, path: str) -> None:
    user = make_user()
    client = Client()
    client.force_login(user)
    for number in (0, 2):
        for _ in range(number):
            make_membership(make_organization(), user)
        answer: Any = client.get(path)
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert (answer.status_code, b"ours" in body) == (200, True)
    assert {record.place.partition(":")[0].rpartition("/")[2] for record in reports(caplog)} == {"views.py"}
