"""A pinned queryset reads and writes only rows of its organization."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import Exists, F, Max, OuterRef, Q, Subquery
from django.db.models.sql import Query

from dovetail_tenancy import TenantMismatch, TenantRequired, current_tenant_id, tenant, unscoped
from tests.tenancy.documents.factories import make_document, make_organization, make_user
from tests.tenancy.documents.models import Document, Folder, Note

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Any:
    organization = make_organization("Acme")
    make_document(organization, "ours", author=make_user())
    return organization


@pytest.fixture
def globex() -> Any:
    organization = make_organization("Globex")
    make_document(organization, "theirs", author=make_user())
    return organization


def pinned(organization: Any) -> Any:
    return Document.objects.for_tenant(organization)


READS: dict[str, Callable[[Any], Any]] = {
    "subquery": lambda rows: rows.filter(folder__in=Folder.objects.filter(name="Inbox")),
    "subquery in a subquery": lambda rows: rows.filter(
        folder__in=Folder.objects.filter(documents__in=Document.objects.filter(notes__in=Note.objects.all()))
    ),
    "subquery over a model without organization": lambda rows: rows.filter(
        author__in=get_user_model().objects.filter(documents__title="ours")
    ),
    "annotation": lambda rows: rows.annotate(
        text=Subquery(Note.objects.filter(document=OuterRef("pk")).values("text")[:1])
    ).filter(text="about ours"),
    "Exists": lambda rows: rows.filter(Exists(Note.objects.filter(document=OuterRef("pk")))),
    "ordered by a subquery": lambda rows: rows.order_by(
        Subquery(Note.objects.filter(document=OuterRef("pk")).values("text")[:1])
    ),
    "union": lambda rows: rows.filter(title="ours").union(Document.objects.filter(title="ours")),
    "refined": lambda rows: rows.exclude(title="").filter(Q(folder__name=F("folder__name"))),
}


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("elsewhere", [True, False])
def test_nested_queries_follow_the_pin(acme: Any, globex: Any, name: str, elsewhere: bool) -> None:
    rows = READS[name](pinned(acme))
    with tenant(globex if elsewhere else acme):
        assert [row.title for row in rows] == ["ours"]
        assert (rows.all().count(), rows.all().exists(), len(list(rows.iterator()))) == (1, True, 1)
    assert [row.title for row in rows.all()] == ["ours"]
    assert current_tenant_id() is None


def test_nested_aggregates_follow_their_own_pins(acme: Any, globex: Any) -> None:
    ours = Folder.objects.for_tenant(acme).filter(documents__in=Document.objects.all())
    with tenant(globex):
        assert not Document.objects.filter(folder__in=ours).exists()
        assert get_user_model().objects.filter(documents__in=pinned(acme)).count() == 0
        assert ours.filter(documents__in=Document.objects.for_tenant(globex)).count() == 0
        assert ours.aggregate(n=Max(Subquery(Document.objects.values("title")[:1])))["n"] == "ours"
        assert ours.distinct()[:5].count() == 1


def prefetching(acme: Any) -> Any:
    return pinned(acme).prefetch_related("notes", "folder")


def texts(rows: Any) -> list[str]:
    return [note.text for row in rows for note in row.notes.all()]


def test_prefetches_follow_the_pin(acme: Any, globex: Any) -> None:
    async def streamed() -> list[Any]:
        return [row async for row in prefetching(acme).aiterator(chunk_size=1)]

    with tenant(globex):
        assert texts(prefetching(acme)) == ["about ours"]
        assert texts(prefetching(acme).iterator(chunk_size=1)) == ["about ours"]
        assert texts(async_to_sync(streamed)()) == ["about ours"]
        assert current_tenant_id() == globex.pk


def test_prefetch_builds_no_filter_for_each_row(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    build_filter = Query.build_filter

    def count(query: Query, *args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return build_filter(query, *args, **kwargs)

    def builds() -> int:
        calls.clear()
        with tenant(acme):
            assert texts(Document.objects.prefetch_related("notes"))
        return len(calls)

    monkeypatch.setattr(Query, "build_filter", count)
    with_one_row = builds()
    for number in range(3):
        make_document(acme, f"more {number}", author=make_user())
    assert builds() == with_one_row


def test_stream_consumer_keeps_its_scope(acme: Any, globex: Any) -> None:
    make_document(acme, "more")
    with tenant(globex):
        for _ in prefetching(acme).iterator(chunk_size=1):
            assert current_tenant_id() == globex.pk
            assert Document.objects.get().title == "theirs"


def test_pinned_queryset_writes_to_its_organization(acme: Any, globex: Any) -> None:
    with tenant(globex):
        folder = Folder.objects.for_tenant(acme).create(name="new")
        again, created = Folder.objects.for_tenant(acme).get_or_create(name="new")
        _, other = Folder.objects.for_tenant(acme).update_or_create(name="other", defaults={"name": "other"})
        (bulk,) = Folder.objects.for_tenant(acme).bulk_create([Folder(name="bulk")])
        assert {folder.organization_id, bulk.organization_id} == {acme.pk}
        assert (again, created, other) == (folder, False, True)
        assert pinned(acme).filter(notes__in=Note.objects.all()).update(title="renamed") == 1
        assert pinned(acme).filter(notes__in=Note.objects.all()).delete()[0] == 2
        assert Document.objects.get().title == "theirs"
    with unscoped(reason="test"):
        assert set(Document.objects.values_list("title", flat=True)) == {"theirs"}


def test_pinned_queryset_refuses_foreign_rows(acme: Any, globex: Any) -> None:
    with tenant(globex):
        foreign = Folder.objects.get()
        for write in (
            lambda: pinned(acme).create(title="x", folder=foreign),
            lambda: pinned(acme).update(folder=foreign),
            lambda: pinned(acme).update(organization=globex),
            lambda: pinned(acme).bulk_create([Document(title="x", folder=foreign)]),
        ):
            with pytest.raises(TenantMismatch):
                write()


def test_pin_survives_pickling(acme: Any, globex: Any) -> None:
    query = pickle.dumps(READS["subquery"](pinned(acme)).query)
    rows = Document.objects.none()
    rows.query = pickle.loads(query)
    with tenant(globex):
        assert [row.title for row in rows.all()] == ["ours"]


def test_different_pins_do_not_combine(acme: Any, globex: Any) -> None:
    with tenant(acme):
        for other in (pinned(globex), Document.objects.all()):
            with pytest.raises(ValueError, match="different organizations"):
                pinned(acme) | other
        assert (pinned(acme) | pinned(acme).filter(title="ours")).count() == 1


def test_unscoped_can_be_pinned_and_no_scope_cannot(acme: Any, globex: Any) -> None:
    with unscoped(reason="test"):
        rows = Document.objects.pinned().filter(folder__in=Folder.objects.all())
    assert rows.count() == 2
    with tenant(acme):
        assert len(rows) == 2
    with pytest.raises(TenantRequired):
        Document.objects.pinned()


STATEMENTS: dict[str, Callable[[Any], Any]] = {
    "list": lambda rows: list(rows),
    "iterator": lambda rows: list(rows.iterator()),
    "first": lambda rows: rows.first(),
    "exists": lambda rows: rows.exists(),
    "count": lambda rows: rows.count(),
    "count of some": lambda rows: rows.distinct()[:5].count(),
    "aggregate": lambda rows: rows.distinct()[:5].aggregate(n=Max("title")),
    "create": lambda rows: rows.create(title="new", folder=Folder.objects.for_tenant(rows._pin.organization_id).get()),
    "get_or_create": lambda rows: rows.get_or_create(title="new", defaults={"folder_id": rows[0].folder_id}),
    "update_or_create": lambda rows: rows.update_or_create(title="ours", defaults={"title": "renamed"}),
    "bulk_create": lambda rows: rows.bulk_create([Document(title="new", folder_id=rows[0].folder_id)]),
    "bulk_update": lambda rows: rows.bulk_update(list(rows), ["title"]),
    "update": lambda rows: rows.update(title="renamed"),
    "delete": lambda rows: rows.delete(),
    "raw delete": lambda rows: rows.filter(title="none")._raw_delete("default"),
}


def test_every_statement_runs_in_the_pinned_scope(acme: Any, globex: Any) -> None:
    ran: list[tuple[str, Any]] = []

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "documents_" in sql:
            ran.append((sql, current_tenant_id()))
        return execute(sql, params, many, context)

    for name, run in STATEMENTS.items():
        with tenant(globex), transaction.atomic():
            rows = pinned(acme)
            with connection.execute_wrapper(record):
                run(rows)
            transaction.set_rollback(True)
        assert ran, name
        assert {organization for _, organization in ran} == {acme.pk}, (name, ran)
        ran.clear()
