"""All ways of Django to create and change rows and links of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core import serializers
from django.db import connection
from django.db.models import F, Value
from django.db.models.functions import Coalesce

from tests.tenancy.lending.cases import Case, for_them, own, stolen
from tests.tenancy.lending.world import World


def deserialized(m: World) -> Iterator[Any]:
    return serializers.deserialize("json", serializers.serialize("json", [stolen(m.row["book"])]))


def loaddata(m: World) -> None:
    import tempfile

    from django.core.management import call_command

    with tempfile.NamedTemporaryFile("w", suffix=".json") as fixture:
        fixture.write(serializers.serialize("json", [m.Shelf(name="new", organization=m.theirs)]))
        fixture.flush()
        call_command("loaddata", fixture.name, verbosity=0)


def upsert(m: World) -> Any:
    return m.Book.objects.bulk_create(
        [m.Book(pk=m.row["book"].pk, title="stolen", shelf=m.row["shelf"], organization=m.mine)],
        update_conflicts=True,
        unique_fields=["id"] if connection.features.supports_update_conflicts_with_target else None,
        update_fields=["title"],
    )


def made_up(m: World) -> Any:
    """Return an instance of mine with the key of a row of theirs."""
    row = m.Book(pk=m.row["book"].pk, title="stolen", shelf_id=m.row["shelf"].pk, organization=m.mine)
    row._state.adding = False  # otherwise Django tries no UPDATE if the key has a default
    return row


def made_up_page(m: World) -> Any:
    # A leaf, because databases with immediate checks refuse to delete a referenced row.
    return m.Page(pk=m.row["page"].pk, text="stolen", book_id=m.row["book"].pk, organization=m.mine)


def organization_by_expression(m: World) -> Any:
    return Coalesce(Value(m.theirs.pk, output_field=type(m.Organization._meta.pk)()), F("organization_id"))


def given_away(m: World, **values: Any) -> Any:
    return stolen(m.prepared, **values)


ROWS = [
    Case("save", lambda m: m.via(stolen(m.row["book"])).save()),
    Case("save one field", lambda m: m.via(stolen(m.row["book"])).save(update_fields=["title"])),
    Case("save with an F", lambda m: m.via(stolen(m.row["book"], title=F("id"))).save(update_fields=["title"])),
    Case("save_base raw", lambda m: stolen(m.row["book"]).save_base(raw=True)),
    Case("deserialized", lambda m: [row.save() for row in deserialized(m)]),
    Case("loaddata", loaddata),
    Case("save a child", lambda m: m.via(stolen(m.row["thesis"], grade="stolen")).save()),
    Case("save as mine", lambda m: m.via(stolen(m.row["book"], organization=m.mine)).save(), crossing=True),
    Case("save a made-up one", lambda m: m.via(made_up(m)).save(), crossing=True),
    Case("force an update of a made-up one", lambda m: m.via(made_up(m)).save(force_update=True), crossing=True),
    Case("new row of theirs", lambda m: m.via(m.Book(**for_them(m))).save()),
    Case("delete", lambda m: m.via(stolen(m.row["book"])).delete()),
    Case("delete a child", lambda m: m.via(stolen(m.row["thesis"])).delete()),
    Case("delete a made-up one", lambda m: m.via(made_up_page(m)).delete(), crossing=True),
    Case("delete by query", lambda m: m.via(m.rows(m.Book).filter(pk=m.row["book"].pk)).delete()),
    Case("delete by the base manager", lambda m: m.via(m.Book._base_manager.filter(pk=m.row["book"].pk)).delete()),
    Case("raw delete", lambda m: m.rows(m.Page).filter(text="theirs")._raw_delete("default")),
    Case("update", lambda m: m.via(m.rows(m.Book)).update(title="stolen")),
    Case("update with an F", lambda m: m.via(m.rows(m.Book)).update(title=F("id"))),
    Case("update over a join", lambda m: m.via(m.rows(m.Book).filter(shelf__name="theirs")).update(title="stolen")),
    Case("update a child", lambda m: m.via(m.rows(m.Thesis)).update(grade="stolen", title="stolen")),
    Case("update by the base manager", lambda m: m.via(m.Book._base_manager).update(title="stolen")),
    Case("update over a manager", lambda m: m.via(m.row["shelf"].books).update(title="stolen")),
    Case("bulk_update", lambda m: m.via(m.rows(m.Book)).bulk_update([stolen(m.row["book"])], ["title"])),
    Case("bulk_create", lambda m: m.via(m.Book.objects).bulk_create([m.Book(**for_them(m))])),
    Case("bulk_create, ignoring conflicts",
         lambda m: m.via(m.Book.objects).bulk_create([m.Book(**for_them(m))], ignore_conflicts=True)),
    Case("upsert by key", upsert, crossing=True),
    Case("update_or_create", lambda m: m.via(m.rows(m.Book)).update_or_create(
        pk=m.row["book"].pk, defaults={"title": "stolen", "shelf": m.row["shelf"], "organization": m.theirs})),
    Case("get_or_create", lambda m: m.via(m.rows(m.Shelf)).get_or_create(name="new", organization=m.theirs)),
    Case("take over by update", lambda m: m.via(m.Book._base_manager).update(organization=m.mine), crossing=True),
    Case("give away", lambda m: m.via(given_away(m, organization=m.theirs)).save(), own, True),
    Case("give away by key", lambda m: m.via(given_away(m, organization_id=m.theirs.pk)).save(), own, True),
    Case("give away by expression",
         lambda m: m.via(given_away(m, organization_id=organization_by_expression(m))).save(), own, True),
    Case("give away by update",
         lambda m: m.via(m.rows(m.Book).filter(title="")).update(organization=m.theirs), own, True),
    Case("give away by update of the key",
         lambda m: m.via(m.rows(m.Book).filter(title="")).update(organization_id=m.theirs.pk), own, True),
    Case("give away by an F-update", lambda m: m.via(m.rows(m.Book).filter(title="")).update(
        organization_id=organization_by_expression(m)), own, True),
    Case("give away by bulk_update", lambda m: m.via(m.rows(m.Book)).bulk_update(
        [given_away(m, organization=m.theirs)], ["organization"]), own, True),
    Case("my book on their shelf", lambda m: m.via(given_away(m, shelf=m.row["shelf"])).save(), own, True),
    Case("my book on a shelf that was read",
         lambda m: m.via(stolen(m.prepared[0], shelf=m.prepared[1])).save(),
         lambda m: (own(m), m.rows(m.Shelf).get(name="theirs")), True),
    Case("my book on their shelf by update",
         lambda m: m.via(m.rows(m.Book).filter(title="")).update(shelf=m.row["shelf"]), own, True),
    Case("my book added to their shelf", lambda m: m.via(m.row["shelf"].books).add(m.prepared), own, True),
    Case("their book added to my shelf", lambda m: m.via(m.prepared.shelf.books).add(m.row["book"]), own, True),
    Case("new page in their book",
         lambda m: m.via(m.row["book"].pages).create(text="x", organization=m.mine), crossing=True),
    Case("clear a manager", lambda m: m.via(m.row["person"].written).clear()),
    Case("remove from a manager", lambda m: m.via(m.row["person"].written).remove(m.row["book"])),
    Case("set a manager", lambda m: m.via(m.row["person"].written).set([])),
    Case("remark on their book", lambda m: m.via(m.row["book"].remarks).create(text="x", organization=m.theirs)),
    Case("clear remarks", lambda m: m.via(m.row["book"].remarks).clear()),
    Case("clear remarks of a loan", lambda m: m.via(m.row["loan"].remarks).clear()),
]  # fmt: skip


def another(m: World) -> Any:
    """Create another topic and reader of theirs without links, and a book and a topic of mine."""
    person = m.Person.objects.create(name="other")
    topic = m.Topic.objects.create(name="other", organization=m.theirs)
    book = own(m)
    with m.within(m.mine):
        mine = m.Topic.objects.create(name="mine", organization=m.mine)
    return {"book": book, "topic": mine, "their_topic": topic, "person": person}


def linked(m: World) -> Any:
    made = another(m)
    with m.within(m.mine):
        made["book"].topics.add(made["topic"])
    return made


def link(m: World, **keys: Any) -> Any:
    return m.Book.topics.through(**keys)


LINKS = [
    Case("add theirs to mine", lambda m: m.via(m.prepared["book"].topics).add(m.row["topic"]), another, True),
    Case("add by key", lambda m: m.via(m.prepared["book"].topics).add(m.row["topic"].pk), another, True),
    Case("add mine to theirs", lambda m: m.via(m.row["topic"].books).add(m.prepared["book"]), another, True),
    Case("add theirs to theirs", lambda m: m.via(m.row["book"].topics).add(m.prepared["their_topic"]), another),
    Case("set", lambda m: m.via(m.prepared["book"].topics).set([m.row["topic"]]), another, True),
    Case("set theirs", lambda m: m.via(m.row["book"].topics).set([m.prepared["their_topic"]]), another),
    Case("create in theirs",
         lambda m: m.via(m.row["book"].topics).create(name="x", organization=m.mine), crossing=True),
    Case("remove", lambda m: m.via(m.row["book"].topics).remove(m.row["topic"])),
    Case("clear", lambda m: m.via(m.row["book"].topics).clear()),
    Case("clear from the other end", lambda m: m.via(m.row["topic"].books).clear()),
    Case("add a reader", lambda m: m.via(m.row["book"].readers).add(m.prepared["person"]), another),
    Case("add a reading", lambda m: m.via(m.prepared["person"].readings).add(m.row["book"]), another),
    Case("remove a reader", lambda m: m.via(m.row["book"].readers).remove(m.row["person"])),
    Case("remove a reading", lambda m: m.via(m.row["person"].readings).remove(m.row["book"])),
    Case("clear readers", lambda m: m.via(m.row["book"].readers).clear()),
    Case("clear readings", lambda m: m.via(m.row["person"].readings).clear()),
    Case("set readings", lambda m: m.via(m.row["person"].readings).set([])),
    Case("table between: create", lambda m: m.via(m.Book.topics.through.objects).create(
        book=m.prepared["book"], topic=m.row["topic"]), another, True),
    Case("table between: save",
         lambda m: m.via(link(m, book=m.prepared["book"], topic=m.row["topic"])).save(), another, True),
    Case("table between: bulk_create", lambda m: m.via(m.Book.topics.through.objects).bulk_create(
        [link(m, book=m.prepared["book"], topic=m.row["topic"])]), another, True),
    Case("table between: update",
         lambda m: m.via(m.Book.topics.through.objects).update(topic=m.row["topic"].pk), linked, True),
    Case("table between: delete", lambda m: m.via(m.Book.topics.through.objects.all()).delete()),
]  # fmt: skip

WRITES = {"writes": ROWS, "links": LINKS}
