"""Relations that no author declares keep working: cascades, choices in the admin site, inherited tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import path

from dovetail_tenancy import TenantMismatch, tenant, unscoped
from tests.tenancy.documents.factories import make_membership, make_user
from tests.tenancy.lending.models import (  # type: ignore[attr-defined]
    Book,
    Librarian,
    Loan,
    Page,
    Person,
    Remark,
    Thesis,
    Topic,
)
from tests.tenancy.lending.world import World
from tests.tenancy.test_leaks import lending

pytestmark = pytest.mark.django_db


@pytest.fixture
def m() -> World:
    world = lending()
    world.fill()
    return world


def left(*models: Any) -> list[int]:
    with unscoped(reason="test"):
        return [model.objects.count() for model in models]


def test_deleting_a_person_deletes_links_of_all_organizations(m: World) -> None:
    with tenant(m.mine):
        m.row["person"].delete()
    assert left(Person, Book, Book.readers.through, Loan) == [1, 1, 0, 0]


def test_deleting_a_parent_deletes_its_tenant_child(m: World) -> None:
    Person.objects.get(pk=m.row["librarian"].pk).delete()
    assert left(Person, Librarian) == [1, 0]
    Person.objects.all().delete()
    assert left(Person, Librarian, Book) == [0, 0, 1]


def test_deleting_an_unowned_row_deletes_attached_rows(m: World) -> None:
    m.row["loan"].delete()
    assert left(Loan, Remark) == [0, 1]


def test_deleting_an_organization_deletes_links_and_remarks(m: World) -> None:
    m.theirs.delete()
    assert left(Book, Thesis, Topic, Page, Book.topics.through, Book.readers.through) == [0] * 6
    assert left(Person, Librarian) == [1, 0]


def test_row_is_deleted_only_in_its_organization(m: World) -> None:
    with tenant(m.theirs):
        Book.objects.get().delete()
    assert left(Book, Thesis, Book.topics.through, Loan) == [0] * 4


def test_linking_costs_one_query_for_each_end(m: World, django_assert_num_queries: Any) -> None:
    with tenant(m.theirs):
        book = Book.objects.get()
        topics = [Topic.objects.create(name=f"topic {number}") for number in range(20)]
        with django_assert_num_queries(3):  # books, topics, links
            book.topics.add(*topics[:1])
        with django_assert_num_queries(3):
            book.topics.add(*topics)
        assert book.topics.count() == 21
        assert set(topics) < set(Book.objects.prefetch_related("topics").get().topics.all())
        book.topics.remove(*topics)
        assert Topic.objects.filter(books=book).count() == 1


def test_refused_link_names_the_model(m: World) -> None:
    with tenant(m.mine), pytest.raises(TenantMismatch, match=r"lending\.Book that does not belong to"):
        m.row["book"].topics.add(Topic.objects.create(name="mine"))


def test_relations_of_a_child_table(m: World) -> None:
    with tenant(m.theirs):
        thesis = Thesis.objects.get()
        assert Thesis.objects.filter(shelf__name="theirs", topics__name="theirs", examiner__name="theirs").exists()
        people = Person.objects.filter(pk=m.row["person"].pk)
        assert list(people.exclude(examined__grade="other").values_list("examined__grade")) == [("theirs",)]
        assert not people.exclude(examined__grade="theirs").exists()
        thesis.remarks.create(text="another")
        assert Thesis.objects.filter(remarks__text="another").count() == 1
    with tenant(m.mine):
        assert not Thesis.objects.filter(remarks__text="another").exists()
        assert not Person.objects.exclude(examined=None).exists()


class PageAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    autocomplete_fields = ("book",)


class BookAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    search_fields = ("title", "topics__name", "readers__name")
    ordering = ("title",)


site = admin.AdminSite(name="lending")
site.register(Page, PageAdmin)
site.register(Book, BookAdmin)
urlpatterns = [path("lending/", site.urls)]


@pytest.fixture
def librarian(settings: Any) -> Iterator[Client]:
    settings.ROOT_URLCONF = __name__
    client = Client()
    client.force_login(make_user(is_staff=True, is_superuser=True))
    return client


def suggested(client: Client, term: str) -> list[str]:
    parameters = {"app_label": "lending", "model_name": "page", "field_name": "book", "term": term}
    return [result["id"] for result in client.get("/lending/autocomplete/", parameters).json()["results"]]


@pytest.mark.parametrize("term", ["", "theirs"])
def test_autocomplete_suggests_rows_of_the_organization(m: World, librarian: Client, settings: Any, term: str) -> None:
    # A user without a membership sees the rows of all organizations only if the site is in UNSCOPED_NAMESPACES.
    settings.TENANCY_UNSCOPED_NAMESPACES = ("lending",)
    assert suggested(librarian, term) == [str(m.row["book"].pk)]
    settings.TENANCY_UNSCOPED_NAMESPACES = ()
    for organization, expected in ((m.theirs, [str(m.row["book"].pk)]), (m.mine, [])):
        member = make_user(is_staff=True, is_superuser=True)
        make_membership(organization, member)
        librarian.force_login(member)
        assert suggested(librarian, term) == expected
