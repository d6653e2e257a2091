"""The leak matrix without the ORM: the rows that PostgreSQL shows and accepts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from django.db import DatabaseError, ProgrammingError, connection, transaction
from django.db.models import Count
from django.db.models.signals import post_delete
from psycopg.errors import FeatureNotSupported

from dovetail_tenancy import tenant, unscoped
from tests.tenancy.documents.factories import make_document, make_user
from tests.tenancy.documents.models import Document, Folder, Note
from tests.tenancy.row_security import statements
from tests.tenancy.row_security.statements import READS

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@contextmanager
def around(how: str) -> Iterator[None]:
    """In autocommit or in a transaction."""
    with transaction.atomic() if how == "atomic" else nullcontext():
        yield


@pytest.fixture(params=["autocommit", "atomic"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_read_shows_the_rows_of_the_scope(acme: Any, globex: Any, function: str, mode: str, how: str) -> None:
    for name, read in READS.items():
        with around(how):
            assert read() == [], name
            with tenant(acme):
                assert read() == ["a1", "a2"], name
                with tenant(globex):
                    assert read() == ["g1"], name
                    with unscoped(reason="a test"):
                        assert read() == ["a1", "a2", "g1"], name
                    assert read() == ["g1"], name
                assert read() == ["a1", "a2"], name
            assert read() == [], name
            with unscoped(reason="a test"):
                assert read() == ["a1", "a2", "g1"], name
            assert read() == [], name


def test_cursor_follows_the_active_scope(acme: Any, globex: Any, mode: str, how: str) -> None:
    with around(how):
        with tenant(acme):
            cursor = connection.cursor()
            cursor.execute(statements.TITLES)
        with tenant(globex), cursor.copy(f"COPY ({statements.TITLES}) TO STDOUT") as rows:
            assert [title for (title,) in rows.rows()] == ["g1"]
        cursor.execute(statements.TITLES)
        assert cursor.fetchall() == []
        cursor.close()


@pytest.mark.parametrize("write", [statements.insert, statements.insert_many, statements.move])
def test_foreign_row_is_not_written(acme: Any, globex: Any, mode: str, how: str, write: Any) -> None:
    for scope in (nullcontext(), tenant(acme)):
        # Without an organization no row is visible, and with one a row cannot be moved to another.
        if write is statements.move and isinstance(scope, nullcontext):
            assert write(globex) == 0
            continue
        with scope, pytest.raises(ProgrammingError, match="violates row-level security policy"), around(how):
            write(globex)
    with tenant(globex), around(how):
        assert write(globex) >= 1
    with unscoped(reason="a test"), around(how):
        assert write(acme) >= 1


@pytest.mark.parametrize(("write", "left"), [(statements.update, 3), (statements.delete, 1)], ids=["update", "delete"])
def test_writes_reach_only_visible_rows(acme: Any, globex: Any, mode: str, how: str, write: Any, left: int) -> None:
    with around(how):
        assert write() == 0
        with tenant(acme):
            assert write() == 2
        with unscoped(reason="a test"):
            assert write() == left
    with unscoped(reason="a test"):
        assert statements.execute() == (["a1!!", "a2!!", "g1!"] if write is statements.update else ["a1", "a2", "g1"])


def test_copy_from_is_not_supported(acme: Any, mode: str, how: str) -> None:
    for scope in (nullcontext(), tenant(acme), unscoped(reason="a test")):
        with (
            scope,
            pytest.raises(FeatureNotSupported, match="COPY FROM not supported"),
            around(how),
            connection.cursor() as cursor,
            cursor.copy("COPY documents_folder FROM STDIN"),
        ):
            pass


def test_truncate_requires_ownership(acme: Any, globex: Any, mode: str) -> None:
    with unscoped(reason="a test"), connection.cursor() as cursor:
        cursor.execute("TRUNCATE documents_note RESTART IDENTITY")
        cursor.execute("SELECT count(*) FROM documents_note")
        assert cursor.fetchone() == (0,)


def test_pinned_queryset_sets_the_database_scope(acme: Any, globex: Any, mode: str, how: str) -> None:
    """``for_tenant`` and ``pinned`` also set the scope of the database."""
    with tenant(acme):
        pinned = Document.objects.order_by("title").pinned()
    with unscoped(reason="a test"):
        everything = Document.objects.order_by("title").pinned()
    titles = lambda queryset: [document.title for document in queryset]  # noqa: E731
    for scope in (nullcontext(), tenant(globex)):
        with scope, around(how):
            assert titles(pinned.all()) == ["a1", "a2"]
            assert titles(pinned.iterator(chunk_size=1)) == ["a1", "a2"]
            assert titles(everything.iterator(chunk_size=1)) == ["a1", "a2", "g1"]
            assert pinned.count() == 2
            assert pinned.filter(pk__in=pinned.values("pk")).exists()
            assert pinned.distinct().aggregate(number=Count("pk")) == {"number": 2}
            assert titles(pinned.union(pinned)) == ["a1", "a2"]
            assert "documents_document" in pinned.explain()
            assert pinned.update(author=None) == 2
            assert statements.shown()[0] in ("", str(globex.pk))


@pytest.mark.parametrize("heard", [False, True], ids=["at once", "one by one"])
def test_pinned_delete_reaches_its_organization(acme: Any, globex: Any, mode: str, how: str, heard: bool) -> None:
    listener = lambda **kwargs: None  # noqa: E731
    if heard:  # Django then reads the rows and deletes them by primary key
        post_delete.connect(listener, sender=Note)
    try:
        with around(how), tenant(acme):
            assert Note.objects.for_tenant(globex).delete() == (1, {"documents.Note": 1})
            assert Note.objects.count() == 2
    finally:
        post_delete.disconnect(listener, sender=Note)


@pytest.mark.parametrize("scope", ["none", "other"])
def test_deleting_an_unowned_row_deletes_rows_of_all_organizations(
    acme: Any, globex: Any, mode: str, scope: str
) -> None:
    for organization, title in ((acme, "a3"), (globex, "g2")):
        make_document(organization, title, author=globex.owner)
    user = make_user()
    with unscoped(reason="a test"):
        Note.objects.filter(writer=globex.owner).update(writer=user)
    with tenant(globex) if scope == "other" else nullcontext():
        user.delete()
        acme.delete()
    with unscoped(reason="a test"):
        assert statements.execute() == ["g1", "g2"]
        assert Note.objects.count() == 1


def test_pinned_bulk_create_writes_to_its_organization(acme: Any, globex: Any, mode: str, how: str) -> None:
    with around(how):
        Folder.objects.for_tenant(acme).bulk_create([Folder(name="One", organization_id=acme.pk), Folder(name="Two")])
    with tenant(acme):
        assert Folder.objects.count() == 3


def test_failed_statement_leaves_no_setting(acme: Any, globex: Any, mode: str) -> None:
    with unscoped(reason="a test"), pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT 1/0 FROM documents_document")
    assert statements.execute() == []
    with tenant(acme), pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT 1/0 FROM documents_document")
    assert statements.execute() == []
    assert connection.connection.pgconn.transaction_status == 0


def test_abandoned_stream_leaves_no_setting(acme: Any, mode: str) -> None:
    with unscoped(reason="a test"), connection.cursor() as cursor:
        rows = cursor.stream(statements.TITLES)
        next(rows)
        rows.close()
    assert connection.connection.pgconn.transaction_status == 0
    assert statements.execute() == []
