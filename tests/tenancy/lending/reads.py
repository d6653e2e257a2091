"""Joins of every kind, and keys of theirs in rows of mine."""

from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Count, Exists, F, FilteredRelation, Max, OuterRef, Prefetch, Q, Subquery

from tests.tenancy.lending.cases import Case, named, own
from tests.tenancy.lending.world import World

JOINS = named(
    {
        "forward": lambda m: m.rows(m.Page).filter(book__shelf__name="theirs"),
        "forward values": lambda m: m.rows(m.Page).values_list("book__title"),
        "forward select_related": lambda m: [page.book.title for page in m.rows(m.Page).select_related("book")],
        "reverse": lambda m: m.rows(m.Shelf).filter(books__pages__text="theirs"),
        "reverse prefetch": lambda m: [b for s in m.rows(m.Shelf).prefetch_related("books") for b in s.books.all()],
        "aggregate": lambda m: m.rows(m.Shelf).aggregate(n=Count("books__pages"), t=Max("books__title")),
        "union": lambda m: m.rows(m.Book).filter(title="theirs").union(m.rows(m.Book).filter(title="other")),
        "from the organization": lambda m: m.Organization._default_manager.filter(book__title="theirs"),
        "from the organization: values": lambda m: m.Organization._default_manager.values_list("book__title"),
        "from the organization: aggregate": lambda m: m.Organization._default_manager.aggregate(n=Count("book")),
        "from the organization: exclude": lambda m: (
            2
            - m.Organization._default_manager.filter(pk__in=[m.mine.pk, m.theirs.pk])
            .exclude(book__title="theirs")
            .count()
        ),
        "from the organization: manager": lambda m: m.theirs.book_set.all(),
        "from a person": lambda m: m.Person.objects.filter(written__title="theirs"),
        "from a person: values": lambda m: m.Person.objects.values_list("written__title"),
        "from a person: keys": lambda m: m.Person.objects.values_list("written"),
        "from a person: aggregate": lambda m: m.Person.objects.aggregate(n=Count("written"), t=Max("written__title")),
        "from a person: annotate": lambda m: m.Person.objects.annotate(n=Count("written")).values_list("n"),
        "from a person: exclude": lambda m: (
            m.Person.objects.count() - m.Person.objects.exclude(written__title="theirs").count()
        ),
        "from a person: or": lambda m: m.Person.objects.filter(Q(written__title="theirs") | Q(name="nobody")),
        "from a person: F": lambda m: m.Person.objects.filter(written__title=F("name")),
        "from a person: filtered relation": lambda m: m.Person.objects.annotate(
            w=FilteredRelation("written", condition=Q(written__title="theirs"))
        ).values_list("w__title"),
        "from a person: two joins": lambda m: m.Person.objects.filter(written__pages__text="theirs"),
        "from a person: order": lambda m: (
            m.Person.objects.annotate(t=F("written__title")).order_by("t").values_list("t")
        ),
        "from a person: manager": lambda m: m.row["person"].written.all(),
        "from a person: prefetch": lambda m: [
            b for p in m.Person.objects.prefetch_related("written") for b in p.written.all()
        ],
        "from a loan": lambda m: m.Loan.objects.filter(book__title="theirs"),
        "from a loan: values": lambda m: m.Loan.objects.values_list("book__title"),
        "from a loan: aggregate": lambda m: m.Loan.objects.aggregate(t=Max("book__title")),
        "from a loan: exclude": lambda m: m.Loan.objects.exclude(book__title="other").filter(book__title__gt=""),
        "from a loan: select_related": lambda m: [loan.book for loan in m.Loan.objects.select_related("book")],
        "from a loan: attribute": lambda m: [loan.book for loan in m.Loan.objects.all()],
        "from a loan: prefetch": lambda m: [loan.book for loan in m.Loan.objects.prefetch_related("book__pages")],
        "from a person over loans": lambda m: m.Person.objects.values_list("loans__book__title"),
        "subquery": lambda m: m.Person.objects.filter(pk__in=m.rows(m.Book).values("author")),
        "subquery annotated": lambda m: m.Person.objects.annotate(
            t=Subquery(m.rows(m.Book).filter(author=OuterRef("pk")).values("title")[:1])
        ).values_list("t"),
        "Exists": lambda m: m.Person.objects.filter(Exists(m.rows(m.Book).filter(author=OuterRef("pk")))),
        "prefetch object": lambda m: [
            b
            for p in m.Person.objects.prefetch_related(Prefetch("written", m.rows(m.Book).order_by("title")))
            for b in p.written.all()
        ],
        "one-to-one": lambda m: m.rows(m.Book).values_list("blurb__text"),
        "one-to-one: held": lambda m: m.row["book"].blurb,
        "content type": lambda m: ContentType.objects.get_for_model(m.Book).get_object_for_this_type(title="theirs"),
        "content type: all": lambda m: ContentType.objects.get_for_model(m.Book).get_all_objects_for_this_type(),
        "default manager": lambda m: m.Book._default_manager.all(),
        "base manager": lambda m: m.Book._base_manager.all(),
    }
)

MANY_TO_MANY = named(
    {
        "filter": lambda m: m.rows(m.Topic).filter(books__title="theirs"),
        "manager of a book": lambda m: m.row["book"].topics.all(),
        "manager of a topic": lambda m: m.row["topic"].books.all(),
        "prefetch": lambda m: [t for b in m.rows(m.Book).prefetch_related("topics") for t in b.topics.all()],
        "person: filter": lambda m: m.Person.objects.filter(readings__title="theirs"),
        "person: values": lambda m: m.Person.objects.values_list("readings__title"),
        "person: keys": lambda m: m.Person.objects.values_list("readings"),
        "person: count": lambda m: m.Person.objects.aggregate(n=Count("readings")),
        "person: isnull": lambda m: m.Person.objects.filter(readings__isnull=False),
        "person: exclude": lambda m: (
            m.Person.objects.count() - m.Person.objects.exclude(readings__title="theirs").count()
        ),
        "person: exclude key": lambda m: (
            m.Person.objects.count() - m.Person.objects.exclude(readings=m.row["book"].pk).count()
        ),
        "person: two links": lambda m: m.Person.objects.values_list("readings__topics__name"),
        "person: manager": lambda m: m.row["person"].readings.all(),
        "person: manager count": lambda m: m.row["person"].readings.count(),
        "person: manager exists": lambda m: m.row["person"].readings.exists(),
        "person: prefetch": lambda m: [
            b for p in m.Person.objects.prefetch_related("readings") for b in p.readings.all()
        ],
        "readers of a book": lambda m: m.row["book"].readers.all(),
        "readers of a book: count": lambda m: m.row["book"].readers.count(),
        "table between": lambda m: m.Book.topics.through.objects.all(),
        "table between: readers": lambda m: m.Book.readers.through.objects.values_list("book__title"),
    }
)

INHERITANCE = named(
    {
        "child": lambda m: m.rows(m.Thesis).filter(grade="theirs"),
        "child: parent's column": lambda m: m.rows(m.Thesis).values_list("title"),
        "child: count": lambda m: m.rows(m.Thesis).count(),
        "child: base manager": lambda m: m.Thesis._base_manager.all(),
        "child from parent": lambda m: m.rows(m.Book).values_list("thesis__grade"),
        "child of a held parent": lambda m: m.row["book"].thesis,
        "parent of a held child": lambda m: m.rows(m.Thesis).only("grade").get().book_ptr,
        "child of a parent that nobody owns": lambda m: m.rows(m.Librarian).filter(wage="theirs"),
        "from a parent that nobody owns": lambda m: m.Person.objects.values_list("librarian__wage"),
        "from a parent that nobody owns: held": lambda m: m.Person.objects.get(pk=m.row["librarian"].pk).librarian,
        "person over a child's key": lambda m: m.Person.objects.values_list("examined__grade"),
        "person over a child's key: count": lambda m: m.Person.objects.aggregate(n=Count("examined")),
        "person over a child's key: manager": lambda m: m.row["person"].examined.all(),
        "person over the parent": lambda m: m.Person.objects.values_list("written__thesis__grade"),
    }
)

GENERIC = named(
    {
        "remarks": lambda m: m.rows(m.Remark).filter(text="theirs"),
        "subject": lambda m: (
            m.Remark(content_type=ContentType.objects.get_for_model(m.Book), object_id=m.row["book"].pk).subject
        ),
        "manager of a book": lambda m: m.row["book"].remarks.all(),
        "from a book": lambda m: m.rows(m.Book).values_list("remarks__text"),
        "manager of a loan": lambda m: m.row["loan"].remarks.all(),
        "from a loan": lambda m: m.Loan.objects.filter(remarks__text="theirs"),
        "from a loan: values": lambda m: m.Loan.objects.values_list("remarks__text"),
        "from a loan: count": lambda m: m.Loan.objects.aggregate(n=Count("remarks")),
        "from a loan: exclude": lambda m: (
            m.Loan.objects.count() - m.Loan.objects.exclude(remarks__text="theirs").count()
        ),
        "from a loan: prefetch": lambda m: [
            r for loan in m.Loan.objects.prefetch_related("remarks") for r in loan.remarks.all()
        ],
        "from a person over loans": lambda m: m.Person.objects.values_list("loans__remarks__text"),
        "back to a book": lambda m: m.rows(m.Remark).filter(remarked_book__title="theirs"),
        "prefetched subjects": lambda m: [r.subject for r in m.rows(m.Remark).prefetch_related("subject")],
    }
)


def forged_page(m: World) -> Any:
    own(m)
    with m.within(m.mine):
        return m.Page.objects.create(book_id=m.row["book"].pk, text="", organization=m.mine)


def forged_link(m: World) -> Any:
    """Forge a link from a book of mine to their topic."""
    book = own(m)
    through = m.Book.topics.through
    quote = connection.ops.quote_name
    field = through._meta.get_field
    columns = ", ".join(quote(field(name).column) for name in ("book", "topic"))
    keys = [
        field(name).get_db_prep_save(key, connection) for name, key in (("book", book.pk), ("topic", m.row["topic"].pk))
    ]
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {quote(through._meta.db_table)} ({columns}) VALUES (%s, %s)", keys)
    return book


def forged_remark(m: World) -> Any:
    content_type = ContentType.objects.get_for_model(m.Book)
    with m.within(m.mine):
        return m.Remark.objects.create(
            content_type=content_type, object_id=m.row["book"].pk, text="", organization=m.mine
        )


# A key of theirs in a row of mine reveals nothing.
FORGED = [
    Case("key: values", lambda m: m.rows(m.Page).values_list("book__title"), forged_page, crossing=True),
    Case("key: filter", lambda m: m.rows(m.Page).filter(book__title="theirs"), forged_page, crossing=True),
    Case("key: select_related", lambda m: [p.book for p in m.rows(m.Page).select_related("book")], forged_page, True),
    Case("key: prefetch", lambda m: [p.book for p in m.rows(m.Page).prefetch_related("book")], forged_page, True),
    Case("key: attribute", lambda m: m.rows(m.Page).get(text="").book, forged_page, crossing=True),
    Case("link: values", lambda m: m.rows(m.Book).filter(title="").values_list("topics__name"), forged_link, True),
    Case("link: keys", lambda m: m.rows(m.Book).filter(title="").values_list("topics"), forged_link, crossing=True),
    Case("link: manager", lambda m: m.prepared.topics.all(), forged_link, crossing=True),
    Case("link: count", lambda m: m.prepared.topics.count(), forged_link, crossing=True),
    Case("link: table between", lambda m: m.Book.topics.through.objects.filter(book=m.prepared), forged_link, True),
    Case("remark: subject", lambda m: m.rows(m.Remark).get(text="").subject, forged_remark, crossing=True),
    Case(
        "remark: join",
        lambda m: m.rows(m.Remark).filter(text="").values_list("remarked_book__title"),
        forged_remark,
        crossing=True,
    ),
]

READS = {"joins": JOINS, "many-to-many": MANY_TO_MANY, "inheritance": INHERITANCE, "generic": GENERIC, "forged": FORGED}
