"""Writes change only rows of the active organization. Without one they raise."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core import serializers
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, models, transaction

from dovetail_core.models import uuid7
from dovetail_tenancy import TenantMismatch, TenantRequired, tenant, unscoped
from tests.tenancy.documents.factories import make_document, make_organization, make_user
from tests.tenancy.documents.models import Document, Folder

pytestmark = pytest.mark.django_db


@pytest.fixture
def theirs() -> Document:
    return make_document(make_organization("Globex"), "theirs")


def titles() -> list[str]:
    with unscoped(reason="test"):
        return sorted(Document.objects.values_list("title", flat=True))


def renamed(document: Document) -> Document:
    document.title = "stolen"
    return document


def raw_saved(document: Document) -> None:
    # Like loaddata.
    (line,) = serializers.deserialize("json", serializers.serialize("json", [renamed(document)]))
    with transaction.atomic():
        line.save()


def taken_over(document: Document, organization_id: Any) -> None:
    document.organization_id = organization_id
    renamed(document).save()


WRITES: dict[str, Callable[[Document, Any], Any]] = {
    "save": lambda d, mine: renamed(d).save(),
    "save one field": lambda d, mine: renamed(d).save(update_fields=["title"]),
    "save raw": lambda d, mine: raw_saved(d),
    "save as mine": taken_over,
    "delete": lambda d, mine: d.delete(),
    "delete by a made-up instance": lambda d, mine: Document(pk=d.pk, organization_id=mine).delete(),
    "create for them": lambda d, mine: Document.objects.create(
        organization_id=d.organization_id, folder_id=d.folder_id, title="new"
    ),
    "bulk_create for them": lambda d, mine: Document.objects.bulk_create(
        [Document(organization_id=d.organization_id, folder_id=d.folder_id, title="new")]
    ),
    "upsert by key": lambda d, mine: Document.objects.bulk_create(
        [Document(pk=d.pk, folder_id=d.folder_id, title="stolen")],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["title"],
    ),
    "move away": lambda d, mine: Document.objects.update(organization=mine),
}


@pytest.mark.parametrize("name", WRITES)
def test_writing_without_an_organization_raises(theirs: Document, name: str) -> None:
    with pytest.raises(TenantRequired):
        WRITES[name](theirs, theirs.organization_id)
    assert titles() == ["theirs"]


@pytest.mark.parametrize("name", WRITES)
def test_writing_a_foreign_row_is_refused(theirs: Document, name: str) -> None:
    acme = make_organization("Acme")
    with tenant(acme), pytest.raises(TenantMismatch):
        WRITES[name](theirs, acme.pk)
    assert titles() == ["theirs"]


@pytest.mark.parametrize(
    "write",
    [
        lambda pk: Document.objects.filter(pk=pk).update(title="stolen"),
        lambda pk: Document.objects.filter(pk=pk).delete()[0],
        lambda pk: Document.objects.filter(pk=pk)._raw_delete("default") or 0,
        lambda pk: Document._base_manager.filter(pk=pk).update(title="stolen"),
        lambda pk: Document.objects.filter(folder__name="Inbox").update(title="stolen"),
    ],
)
def test_update_and_delete_queries_reach_only_own_rows(theirs: Document, write: Callable[[Any], int]) -> None:
    with pytest.raises(TenantRequired):
        write(theirs.pk)
    with tenant(make_organization()):
        assert write(theirs.pk) == 0
    assert titles() == ["theirs"]


def test_constructed_instance_cannot_overwrite_a_foreign_row(theirs: Document) -> None:
    # The UPDATE finds no row, and the INSERT that Django tries next conflicts with the primary key.
    with tenant(make_organization()):
        folder = Folder.objects.create(name="Inbox")
        with pytest.raises(IntegrityError), transaction.atomic():
            Document(pk=theirs.pk, folder=folder, title="stolen").save()
    assert titles() == ["theirs"]


def test_bulk_update_reaches_only_own_rows(theirs: Document) -> None:
    with tenant(make_organization()):
        assert Document.objects.bulk_update([renamed(theirs)], ["title"]) == 0
        with pytest.raises(TenantMismatch), transaction.atomic():
            Document.objects.bulk_update([theirs], ["organization"])
    assert titles() == ["theirs"]


def test_a_new_row_gets_the_active_organization() -> None:
    acme = make_organization()
    with tenant(acme):
        folder, created = Folder.objects.get_or_create(name="Inbox")
        document = Document.objects.create(folder=folder, title="one")
        (bulk,) = Document.objects.bulk_create([Document(folder=folder, title="two")])
        again, created_again = Folder.objects.update_or_create(name="Inbox", defaults={"name": "Inbox"})
    assert {folder.organization_id, document.organization_id, bulk.organization_id} == {acme.pk}
    assert (created, created_again, again) == (True, False, folder)


def test_receivers_see_the_organization_of_a_new_row() -> None:
    acme, seen = make_organization(), []

    def receive(instance: Folder, **kwargs: Any) -> None:
        seen.append(instance.organization_id)

    models.signals.pre_save.connect(receive, sender=Folder)
    try:
        with tenant(acme):
            Folder.objects.create(name="Inbox")
    finally:
        models.signals.pre_save.disconnect(receive, sender=Folder)
    assert seen == [acme.pk]


def test_uniqueness_is_per_organization() -> None:
    for organization in (make_organization(), make_organization()):
        with tenant(organization):
            Folder.objects.create(name="Inbox")
            with pytest.raises(IntegrityError), transaction.atomic():
                Folder.objects.create(name="Inbox")


@pytest.mark.skipif(connection.vendor == "mysql", reason="MySQL takes no unique_fields, so none is safe")
def test_upsert_within_the_organization_works() -> None:
    with tenant(make_organization()):
        Folder.objects.bulk_create([Folder(name="Inbox")])
        Folder.objects.bulk_create(
            [Folder(name="Inbox")],
            update_conflicts=True,
            unique_fields=["organization", "name"],
            update_fields=["name"],
        )
        assert Folder.objects.count() == 1


def test_only_unscoped_code_moves_a_loaded_row(theirs: Document) -> None:
    acme = make_organization()
    with unscoped(reason="test"):
        loaded = Document.objects.get()
        loaded.organization_id = acme.pk
        loaded.save()
    with tenant(acme):
        assert Document.objects.get().pk == theirs.pk


def test_moved_row_is_not_saved_by_its_new_organization() -> None:
    document, acme = make_document(make_organization("Globex"), "theirs"), make_organization("Acme")
    with unscoped(reason="test"):
        loaded = Document.objects.get()
    loaded.organization_id = acme.pk
    loaded.organization_id = document.organization_id
    loaded.organization = acme
    with tenant(acme), pytest.raises(TenantMismatch):
        loaded.save()
    with unscoped(reason="test"):
        loaded.save()
    with tenant(acme):
        loaded.save()


def test_deferred_row_is_saved_and_deleted() -> None:
    document = make_document(make_organization(), "ours")
    with tenant(document.organization_id):
        partial = Document.objects.only("title").get()
        partial.title = "renamed"
        partial.save(update_fields=["title"])
        assert Document.objects.only("title").get().delete()[0] == 2
    assert titles() == []


def test_raw_sql_requires_an_organization(theirs: Document) -> None:
    with pytest.raises(TenantRequired):
        Document.objects.raw("select * from documents_document")


def test_fixtures_load_and_dump_unscoped(theirs: Document) -> None:
    out = StringIO()
    with pytest.raises(CommandError, match="TENANCY_UNSCOPED_COMMANDS"):
        call_command("dumpdata", "documents", stdout=out)
    with unscoped(reason="backup"):
        call_command("dumpdata", "documents", stdout=(out := StringIO()))
    assert "theirs" in out.getvalue()


def test_protect_and_restrict_keep_working() -> None:
    from dovetail_tenancy.isolation.fields import OrganizationForeignKey

    for on_delete in (models.CASCADE, models.PROTECT, models.RESTRICT, models.SET_NULL, models.SET(None)):
        field = OrganizationForeignKey(on_delete=on_delete, null=True)
        assert field.remote_field.on_delete == on_delete
        assert field.deconstruct()[3]["on_delete"] is on_delete
        assert field.clone().deconstruct()[3]["on_delete"] is on_delete
    untouched = OrganizationForeignKey(on_delete=models.DO_NOTHING)
    assert untouched.remote_field.on_delete is models.DO_NOTHING


def test_organization_keys_are_converted() -> None:
    acme = make_organization()
    make_document(acme, "ours")
    with tenant(str(acme.pk)):
        assert Document.objects.get().title == "ours"
        Folder.objects.create(organization=acme, name="two")
    for wrong in ("nonsense", None, make_user(), type(acme)(pk=None)):
        with pytest.raises(ValueError, match=r"has no primary key|neither"), tenant(wrong):
            pass  # pragma: no cover
    with tenant(uuid7() if isinstance(acme.pk, UUID) else acme.pk + 1):
        assert not Document.objects.exists()
    if not isinstance(acme.pk, UUID):
        # int() accepts a UUID, but the number exceeds the range of the column.
        with pytest.raises(ValueError, match="neither"), tenant(uuid7()):
            pass  # pragma: no cover
