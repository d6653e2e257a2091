"""Reads return only rows of the active organization. Without one they raise."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, Subquery

from dovetail_tenancy import TenantRequired, get_organization_model, tenant, unscoped
from tests import asynchronous
from tests.tenancy.documents.factories import make_document, make_organization, make_user
from tests.tenancy.documents.models import Document, Folder, Note

pytestmark = pytest.mark.django_db

READS: dict[str, Callable[[], Any]] = {
    "list": lambda: [d.title for d in Document.objects.all()],
    "iterator": lambda: [d.title for d in Document.objects.iterator()],
    "values_list": lambda: list(Document.objects.values_list("title", flat=True)),
    "base manager": lambda: [d.title for d in Document._base_manager.all()],
    "count": lambda: Document.objects.count(),
    "exists": lambda: Document.objects.exists(),
    "exclude": lambda: [d.title for d in Document.objects.exclude(title="")],
    "exclude exists": lambda: Document.objects.exclude(title="").exists(),
    "first": lambda: Document.objects.order_by("title").first(),
    "last": lambda: Document.objects.order_by("title").last(),
    "latest": lambda: Document.objects.latest("title"),
    "in_bulk": lambda: [d.title for d in Document.objects.in_bulk().values()],
    "aggregate": lambda: Document.objects.aggregate(n=Count("pk"))["n"],
    "union": lambda: [d.title for d in Document.objects.filter(title="a").union(Document.objects.all())],
    "or": lambda: [d.title for d in Document.objects.filter(title="a") | Document.objects.all()],
    "distinct": lambda: [d.title for d in Document.objects.distinct()],
    "select_related": lambda: [d.folder.name for d in Document.objects.select_related("folder")],
    "prefetch": lambda: [
        n.text
        for f in Folder.objects.prefetch_related("documents__notes")
        for d in f.documents.all()
        for n in d.notes.all()
    ],
    "prefetch object": lambda: [
        d.title
        for f in Folder.objects.prefetch_related(Prefetch("documents", Document.objects.order_by("title")))
        for d in f.documents.all()
    ],
    "explain": lambda: Document.objects.filter(title="theirs").explain() and None,
    "subquery of a model without tenant": lambda: list(
        get_user_model().objects.filter(pk__in=Document.objects.values("author")).values_list("pk", flat=True)
    ),
    "Exists": lambda: get_user_model().objects.filter(Exists(Document.objects.filter(author=OuterRef("pk")))).count(),
    "Subquery": lambda: list(
        get_user_model()
        .objects.annotate(t=Subquery(Document.objects.filter(author=OuterRef("pk")).values("title")[:1]))
        .exclude(t=None)
        .values_list("t", flat=True)
    ),
    "join from the organization": lambda: list(
        get_organization_model().objects.filter(document__title="theirs").values_list("name", flat=True)
    ),
    "aggregate from the organization": lambda: sum(
        o.n for o in get_organization_model().objects.annotate(n=Count("document"))
    ),
    "exclude from the organization": lambda: (
        2 - get_organization_model().objects.exclude(document__title="theirs").count()
    ),
    "join from a user": lambda: list(
        get_user_model().objects.filter(documents__title="theirs").values_list("documents__title", flat=True)
    ),
    "aggregate from a user": lambda: sum(u.n for u in get_user_model().objects.annotate(n=Count("documents"))),
    "exclude from a user": lambda: (
        get_user_model().objects.count() - get_user_model().objects.exclude(documents__title="theirs").count()
    ),
    "reverse manager": lambda: [d.title for u in get_user_model().objects.all() for d in u.documents.all()],
    "prefetch from a user": lambda: [
        d.title for u in get_user_model().objects.prefetch_related("documents") for d in u.documents.all()
    ],
    "join two tenant tables": lambda: list(Note.objects.filter(document__folder__name="Inbox").values_list("text")),
    "content type": lambda: ContentType.objects.get_for_model(Document).get_all_objects_for_this_type().count(),
    "F of another table": lambda: list(Note.objects.filter(document__title=F("document__title")).values_list("pk")),
    "Q or on a join": lambda: list(
        get_user_model().objects.filter(Q(documents__title="theirs") | Q(pk=None)).values_list("pk")
    ),
}


@pytest.fixture
def theirs() -> Any:
    """Return an organization with a document. The tests read as another organization without documents."""
    user = make_user()
    organization = make_organization("Globex", owner=user)
    make_document(organization, "theirs", author=user)
    return organization


@pytest.mark.parametrize("name", READS)
def test_reading_without_an_organization_raises(theirs: Any, name: str) -> None:
    with pytest.raises(TenantRequired, match="with tenant"):
        READS[name]()


@pytest.mark.parametrize("name", READS)
def test_another_organization_reads_nothing(theirs: Any, name: str) -> None:
    with tenant(make_organization("Acme")):
        try:
            rows = READS[name]()
        except Document.DoesNotExist:
            return
    assert not rows


@pytest.mark.parametrize("name", [name for name in READS if name != "explain"])
def test_own_organization_and_unscoped_code_read_the_row(theirs: Any, name: str) -> None:
    make_organization("Acme")
    with tenant(theirs):
        assert READS[name]()
    with unscoped(reason="test"):
        assert READS[name]()


def test_get_of_foreign_row_raises_does_not_exist(theirs: Any) -> None:
    with tenant(theirs):
        document = Document.objects.get()
    with tenant(make_organization()):
        with pytest.raises(Document.DoesNotExist):
            Document.objects.get(pk=document.pk)
        with pytest.raises(Document.DoesNotExist):
            document.refresh_from_db()
        with pytest.raises(Folder.DoesNotExist):
            _ = Document(pk=document.pk, folder_id=document.folder_id).folder


def test_none_requires_no_organization() -> None:
    assert list(Document.objects.none()) == []
    assert Document.objects.none().count() == 0
    assert not Document.objects.all().none().exists()


def test_queryset_follows_the_organization_active_when_it_runs(theirs: Any) -> None:
    acme = make_organization()
    make_document(acme, "ours")
    with tenant(acme):
        built = Document.objects.order_by("title")
        pickled = pickle.dumps(built.query)
    for organization, title in ((theirs, "theirs"), (acme, "ours")):
        with tenant(organization):
            assert [d.title for d in built.all()] == [title]
            revived = Document.objects.all()
            revived.query = pickle.loads(pickled)
            assert [d.title for d in revived] == [title]
    with pytest.raises(TenantRequired):
        list(built.all())


def test_a_pinned_queryset_keeps_its_organization(theirs: Any) -> None:
    acme = make_organization()
    make_document(acme, "ours")
    with tenant(acme):
        pinned = Document.objects.pinned().filter(folder__name="Inbox").prefetch_related("notes")
    with tenant(theirs):
        assert [d.title for d in pinned] == ["ours"]
        assert [d.title for d in Document.objects.for_tenant(acme)] == ["ours"]
    assert [d.title for d in pinned.all().prefetch_related(None)] == ["ours"]
    with pytest.raises(TenantRequired):
        Document.objects.pinned()


def test_scopes_nest_and_restore(theirs: Any) -> None:
    acme = make_organization()
    make_document(acme, "ours")
    with tenant(acme):
        with tenant(theirs.pk):
            assert Document.objects.get().title == "theirs"
            with unscoped(reason="test"):
                assert Document.objects.count() == 2
            assert Document.objects.get().title == "theirs"
        assert Document.objects.get().title == "ours"


def test_asyncio_tasks_have_separate_scopes() -> None:
    from dovetail_tenancy import current_tenant_id

    async def work(key: Any) -> bool:
        async with tenant(key):
            for _ in range(5):
                await asyncio.sleep(0)
                if current_tenant_id() != key:
                    return False
        return current_tenant_id() is None

    async def main() -> list[bool]:
        keys = [make_key() for _ in range(40)]
        return await asyncio.gather(*map(work, keys))

    assert all(asyncio.run(main()))


def test_a_plain_thread_starts_without_an_organization(theirs: Any) -> None:
    from dovetail_tenancy import current_tenant_id

    seen: list[Any] = []
    with tenant(theirs):
        thread = threading.Thread(target=lambda: seen.append(current_tenant_id()))
        thread.start()
        thread.join()
    assert seen == [None]


def make_key() -> Any:
    from dovetail_core.models import uuid7

    return uuid7()


@pytest.mark.django_db(transaction=True)
def test_async_reads_are_isolated() -> None:
    theirs, acme = make_organization("Globex"), make_organization("Acme")
    make_document(theirs, "theirs")

    async def main() -> None:
        with pytest.raises(TenantRequired):
            await Document.objects.aexists()
        with pytest.raises(TenantRequired):
            [d async for d in Document.objects.using("default")]
        async with tenant(acme):
            assert [d async for d in Document.objects.all()] == []
            assert await Document.objects.acount() == 0
        async with tenant(theirs):
            assert [d.title async for d in Document.objects.all()] == ["theirs"]

    asynchronous.run(main())
