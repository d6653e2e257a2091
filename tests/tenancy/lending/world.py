"""The tables of a library, defined once for all compared ways to isolate organizations.

Persons and loans belong to no organization. All keys are UUIDs, so a key identifies one row of all tables.
"""

from __future__ import annotations

import copy
import sys
import uuid
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models

NAMES = ("Person", "Librarian", "Shelf", "Topic", "Book", "Page", "Blurb", "Thesis", "Remark", "Loan")


def define(
    module: str,
    label: str,
    *,
    base: Any,
    foreign_key: Callable[..., Any] = models.ForeignKey,
    one_to_one: Callable[..., Any] = models.OneToOneField,
    plain: Any = models.Model,
) -> None:
    """Put the models into ``module``. ``base`` is the abstract model that has ``organization`` and the manager."""

    class Person(plain):  # type: ignore[misc]
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)
        name = models.CharField(max_length=100)

        class Meta:
            app_label = label

    class Librarian(base, Person):  # type: ignore[misc]
        wage = models.CharField(max_length=100)

        class Meta:
            app_label = label

    class Shelf(base):  # type: ignore[misc]
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)
        name = models.CharField(max_length=100)

        class Meta:
            app_label = label
            constraints = [models.UniqueConstraint(fields=["organization", "name"], name=f"{label}_shelf_once")]

    class Topic(base):  # type: ignore[misc]
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)
        name = models.CharField(max_length=100)

        class Meta:
            app_label = label

    class Book(base):  # type: ignore[misc]
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)
        shelf = foreign_key(Shelf, on_delete=models.CASCADE, related_name="books")
        author = foreign_key(Person, on_delete=models.SET_NULL, null=True, related_name="written")
        topics = models.ManyToManyField(Topic, related_name="books")
        readers = models.ManyToManyField(Person, related_name="readings")
        remarks = GenericRelation("Remark", object_id_field="object_id", related_query_name="remarked_book")
        title = models.CharField(max_length=100)
        day = models.DateField(default="2026-01-01")
        at = models.DateTimeField(default="2026-01-01T00:00:00Z")

        class Meta:
            app_label = label

    class Page(base):  # type: ignore[misc]
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)
        book = foreign_key(Book, on_delete=models.CASCADE, related_name="pages")
        text = models.CharField(max_length=100)

        class Meta:
            app_label = label

    class Blurb(base):  # type: ignore[misc]
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)
        book = one_to_one(Book, on_delete=models.CASCADE, related_name="blurb")
        text = models.CharField(max_length=100)

        class Meta:
            app_label = label

    class Thesis(Book):
        examiner = foreign_key(Person, on_delete=models.SET_NULL, null=True, related_name="examined")
        grade = models.CharField(max_length=100)

        class Meta:
            app_label = label

    class Remark(base):  # type: ignore[misc]
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)
        content_type = foreign_key(ContentType, on_delete=models.CASCADE, related_name="+")
        object_id = models.UUIDField()
        subject = GenericForeignKey()
        text = models.CharField(max_length=100)

        class Meta:
            app_label = label

    class Loan(plain):  # type: ignore[misc]
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)
        book = models.ForeignKey(Book, on_delete=models.CASCADE, related_name="loans")
        person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="loans")
        remarks = GenericRelation(Remark, object_id_field="object_id", related_query_name="remarked_loan")

        class Meta:
            app_label = label

    for model in (Person, Librarian, Shelf, Topic, Book, Page, Blurb, Thesis, Remark, Loan):
        # For pickle, which imports the class from there.
        model.__module__, model.__qualname__ = module, model.__name__
        setattr(sys.modules[module], model.__name__, model)


class Asynchronously:
    """Calls the asynchronous variant of a method if it has one, and waits for it."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        twin = getattr(self._rows, f"a{name}", None)
        if twin is None:
            return getattr(self._rows, name)

        async def run(*args: Any, **kwargs: Any) -> Any:
            return await twin(*args, **kwargs)

        return async_to_sync(run)


@dataclass
class World:
    """The models of one library, its context managers for scopes, and the rows to isolate."""

    models: Any
    Organization: Any
    within: Callable[[Any], AbstractContextManager[Any]]
    """Makes one organization the active one."""
    everything: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Lets trusted code see every row."""
    rows: Callable[[Any], Any] = lambda model: model.objects
    """What an author would write to get the rows of a model."""
    make_organization: Callable[[str], Any] = None  # type: ignore[assignment]
    via: Callable[[Any], Any] = lambda rows: rows
    """Between a write and what does it: itself, or ``Asynchronously``."""
    theirs: Any = None
    mine: Any = None
    prepared: Any = None
    row: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        if name in NAMES:
            return getattr(self.models, name)
        raise AttributeError(name)

    def __deepcopy__(self, memo: Any) -> World:
        return replace(self, row={name: copy.copy(row) for name, row in self.row.items()})

    def fill(self) -> None:
        """Create two organizations. ``theirs`` has a row in every table, ``mine`` has none."""
        self.theirs, self.mine = self.make_organization("theirs"), self.make_organization("mine")
        person = self.Person.objects.create(name="theirs")
        with self.within(self.theirs):
            owned = {"organization": self.theirs}
            librarian = self.Librarian.objects.create(name="theirs", wage="theirs", **owned)
            shelf = self.Shelf.objects.create(name="theirs", **owned)
            topic = self.Topic.objects.create(name="theirs", **owned)
            thesis = self.Thesis.objects.create(
                shelf=shelf, author=person, examiner=person, title="theirs", grade="theirs", **owned
            )
            book = self.Book.objects.get(pk=thesis.pk)
            page = self.Page.objects.create(book=book, text="theirs", **owned)
            blurb = self.Blurb.objects.create(book=book, text="theirs", **owned)
            book.topics.add(topic)
            book.readers.add(person)
            loan = self.Loan.objects.create(book=book, person=person)
            remark = self.Remark.objects.create(subject=book, text="theirs", **owned)
            self.Remark.objects.create(subject=loan, text="theirs", **owned)
            book = self.Book.objects.get(pk=thesis.pk)  # without cached relations
        self.row = {
            "person": person, "shelf": shelf, "topic": topic, "thesis": thesis, "book": book, "page": page,
            "loan": loan, "remark": remark, "librarian": librarian, "blurb": blurb,
        }  # fmt: skip

    def mentions(self) -> set[tuple[str, ...]]:
        """Return every row of every table that contains a key of theirs, bypassing all guards."""
        keys = {_text(row.pk) for name, row in self.row.items() if name != "person"}
        rows: set[tuple[str, ...]] = set()
        with connection.cursor() as cursor:
            for table in self._tables():
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                columns = [column[0] for column in cursor.description]
                for values in cursor.fetchall():
                    texts = [_text(value) for value in values]
                    # A small number is the key of many rows. It means an organization only in an organization column.
                    owner = dict(zip(columns, texts, strict=True)).get("organization_id")
                    if owner == _text(self.theirs.pk) or keys.intersection(texts):
                        rows.add((table, *texts))
        return rows

    def _tables(self) -> Iterable[str]:
        for name in NAMES:
            yield getattr(self, name)._meta.db_table
        yield self.Book.topics.through._meta.db_table
        yield self.Book.readers.through._meta.db_table


def _text(value: Any) -> str:
    return str(value).replace("-", "")
