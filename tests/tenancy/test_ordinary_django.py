"""Ordinary Django keeps working with models whose managers raise."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from dovetail_tenancy import get_membership_model, get_organization_model, tenant, unscoped
from dovetail_tenancy.exceptions import LastOwner
from dovetail_tenancy.organizations.project_models import concrete_field
from tests import forking
from tests.tenancy.documents.factories import make_document, make_membership, make_organization, make_user
from tests.tenancy.documents.models import Document, Folder, Note
from tests.tenancy.lanes import ORGANIZATION, admin_page

pytestmark = pytest.mark.django_db


def rows() -> tuple[int, int, int]:
    with unscoped(reason="test"):
        return Folder.objects.count(), Document.objects.count(), Note.objects.count()


def test_deleting_an_organization_deletes_only_its_rows(caplog: pytest.LogCaptureFixture) -> None:
    acme, globex = make_organization("Acme"), make_organization("Globex")
    make_document(acme, "ours")
    make_document(globex, "theirs")
    with caplog.at_level(logging.INFO, "dovetail.tenancy"):
        acme.delete()
    assert f"deletion of {ORGANIZATION._meta.label}" in caplog.text
    assert rows() == (1, 1, 1)
    assert not get_membership_model()._default_manager.filter(organization=acme.pk).exists()


def test_deleting_an_organization_from_within_another_is_complete() -> None:
    acme, globex = make_organization("Acme"), make_organization("Globex")
    make_document(acme, "ours")
    make_document(globex, "theirs")
    with tenant(globex):
        acme.delete()
    assert rows() == (1, 1, 1)


def test_deleting_organizations_by_queryset() -> None:
    for _ in range(2):
        make_document(make_organization(), "any")
    get_organization_model()._default_manager.all().delete()
    assert rows() == (0, 0, 0)


def test_deleting_a_user_reaches_the_rows_of_every_organization() -> None:
    author = make_user()
    for organization in (make_organization(), make_organization()):
        make_membership(organization, author)
        make_document(organization, "written", author=author)
    with tenant(make_organization()):
        author.delete()
    assert rows() == (2, 2, 0)  # notes are deleted with their writer, and the author of documents becomes null
    with unscoped(reason="test"):
        assert set(Document.objects.values_list("author", flat=True)) == {None}


def test_deleting_a_user_by_queryset() -> None:
    author = make_user()
    make_document(make_organization(), "written", author=author)
    get_user_model()._default_manager.filter(pk=author.pk).delete()
    assert rows() == (1, 1, 0)


def test_owner_of_an_organization_cannot_be_deleted() -> None:
    owner = make_user()
    make_organization(owner=owner)
    with pytest.raises(LastOwner):
        owner.delete()


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(make_user(is_staff=True, is_superuser=True))
    return client


def test_the_admin_lists_edits_and_deletes_across_organizations(staff: Client) -> None:
    author = make_user()
    acme = make_organization("Acme")
    document = make_document(acme, "ours", author=author)
    make_document(make_organization("Globex"), "theirs")
    listing = staff.get("/admin/documents/document/").content
    assert b"ours" in listing
    assert b"theirs" in listing
    page = f"/admin/documents/document/{document.pk}/"
    assert staff.get(page + "change/").status_code == 200
    assert staff.get(page + "delete/").status_code == 200
    assert staff.post(page + "delete/", {"post": "yes"}).status_code == 302
    assert rows() == (2, 1, 1)


def test_admin_lists_and_deletes_related_rows_of_a_user(staff: Client) -> None:
    author = make_user()
    make_document(make_organization(), "written", author=author)
    page = reverse(admin_page(get_user_model(), "delete"), args=[author.pk])
    assert b"about written" in staff.get(page).content
    assert staff.post(page, {"post": "yes"}).status_code == 302
    assert rows() == (1, 1, 0)


def test_admin_shows_nothing_to_non_staff() -> None:
    client = Client()
    client.force_login(make_user())
    assert client.get("/admin/documents/document/").status_code == 302


def test_content_types_resolve_objects() -> None:
    document = make_document(make_organization(), "ours")
    content_type = ContentType.objects.get_for_model(Document)
    with tenant(document.organization_id):
        assert content_type.get_object_for_this_type(pk=document.pk) == document
    with tenant(make_organization()), pytest.raises(Document.DoesNotExist):
        content_type.get_object_for_this_type(pk=document.pk)


def test_createsuperuser() -> None:
    call_command("createsuperuser", interactive=False, username="root", email="root@example.com", verbosity=0)
    assert get_user_model()._default_manager.filter(is_superuser=True).exists()


@pytest.mark.django_db(transaction=True)
def test_flush() -> None:
    make_document(make_organization(), "any")
    call_command("flush", interactive=False, verbosity=0)
    assert rows() == (0, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_a_test_database_can_be_serialized_and_restored() -> None:
    make_document(make_organization(), "kept")
    with unscoped(reason="test database"):
        content = connection.creation.serialize_db_to_string()
    call_command("flush", interactive=False, verbosity=0, inhibit_post_migrate=True)
    with unscoped(reason="test database"):
        connection.creation.deserialize_db_from_string(content)
    assert rows() == (1, 1, 1)


def test_collector_deletes_many_batches_in_one_call() -> None:
    """Each relation and batch wraps the collector. Nested wrappers would exceed the recursion limit."""
    from django.db.models.deletion import Collector

    from dovetail_tenancy.isolation.fields import _delete_across_organizations

    collector = Collector(using="default")
    for _ in range(5000):
        _delete_across_organizations(collector, "a test")
    assert collector.delete() == (0, {})


def test_a_data_migration_sees_every_row() -> None:
    from django.db.migrations.loader import MigrationLoader

    for organization in (make_organization(), make_organization()):
        make_document(organization, "any")
    historical = MigrationLoader(connection).project_state().apps.get_model("documents", "Document")
    # Row security shows every row to a schema editor. SQLite cannot have one in a test's transaction.
    with connection.schema_editor() if connection.vendor == "postgresql" else nullcontext():
        assert historical.objects.count() == 2
        historical.objects.update(title="migrated")
        assert historical._base_manager.filter(title="migrated").count() == 2


def manage(database: Path, *arguments: str) -> str:
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{database}",
        "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
        "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
    }
    program = "import sys; sys.argv[0] = 'manage.py'\nfrom django.core.management import execute_from_command_line\n"
    code = program + "execute_from_command_line(sys.argv)"
    done = forking.run((sys.executable, "-W", "error"), "-c", code, *arguments, cwd=root, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def some_rows() -> list[dict[str, Any]]:
    """Return a fixture for ``loaddata``: a user, an organization and its folder."""
    key = 1 if ORGANIZATION._meta.pk.get_internal_type() == "AutoField" else "01900000-0000-7000-8000-000000000001"
    moment = "2026-01-01T00:00:00Z"
    given = {"name": "Acme", "slug": "acme", "owner": 1, "created_at": moment, "updated_at": moment, "country": "DE"}
    fields = {name: value for name, value in given.items() if concrete_field(ORGANIZATION, name)}
    return [
        {"model": get_user_model()._meta.label_lower, "pk": 1, "fields": {"username": "ada", "password": "!"}},
        {"model": ORGANIZATION._meta.label_lower, "pk": key, "fields": fields},
        {
            "model": "documents.folder",
            "pk": "01900000-0000-7000-8000-000000000002",
            "fields": {"name": "Inbox", "organization": key},
        },
    ]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the commands run on a SQLite file of their own")
def test_commands_from_the_command_line(tmp_path: Path) -> None:
    fixture = tmp_path / "rows.json"
    fixture.write_text(json.dumps(some_rows()))
    database = tmp_path / "db.sqlite3"
    manage(database, "migrate", "-v0")
    manage(database, "loaddata", str(fixture))
    assert '"Inbox"' in manage(database, "dumpdata", "documents")
    assert "Inbox" in manage(database, "dumpdata")
    manage(database, "flush", "--noinput")
    assert manage(database, "dumpdata", "documents").strip() == "[]"
    manage(database, "remove_stale_contenttypes", "--noinput")
    manage(database, "createsuperuser", "--noinput", "--username", "root", "--email", "root@example.com")
    manage(database, "migrate", "documents", "zero", "-v0")
