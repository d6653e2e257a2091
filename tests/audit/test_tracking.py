from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from django.db import connection, models, transaction
from django.db.models import F
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext

from dovetail_audit import track
from dovetail_audit.models import Entry
from tests.audit.shop.models import Gift, Order, RushOrder

pytestmark = pytest.mark.django_db


def last() -> Entry:
    return Entry.objects.latest("pk")


@pytest.fixture
def order(db: None) -> Order:
    order = Order.objects.create(number="A-1", phone="123", pickup="4711")
    return Order.objects.get(pk=order.pk)


def test_creation_is_recorded(order: Order) -> None:
    entry = Entry.objects.get()
    assert (entry.action, entry.target_kind, entry.target) == ("order.created", "shop.Order", str(order.pk))
    assert entry.data["changes"] == {
        "id": [None, order.pk],
        "number": [None, "A-1"],
        "total": [None, 0],
        "phone": "[personal]",
        "pickup": "changed",
        "options": [None, {}],
    }
    assert entry.private == {"changes.phone": [None, "123"]}
    assert "4711" not in json.dumps([entry.data, entry.private])


def test_update_holds_values_before_and_after(order: Order) -> None:
    order.number, order.phone, order.pickup = "A-2", "456", "4712"
    order.save()
    entry = last()
    assert entry.action == "order.updated"
    assert entry.data["changes"] == {"number": ["A-1", "A-2"], "phone": "[personal]", "pickup": "changed"}
    assert entry.private == {"changes.phone": ["123", "456"]}


def test_tracked_save_adds_one_statement(order: Order) -> None:
    order.number = "A-2"
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        order.save()
    assert [query["sql"].split()[0] for query in queries] == ["UPDATE", "INSERT"]


def test_save_without_changes_is_not_recorded(order: Order) -> None:
    order.save()
    order.seen = 5
    order.save()
    assert Entry.objects.count() == 1


def test_second_save_begins_at_the_first(order: Order) -> None:
    for number in ("A-2", "A-3"):
        order.number = number
        order.save()
    assert last().data["changes"] == {"number": ["A-2", "A-3"]}


def test_update_fields_limit_the_changes(order: Order) -> None:
    order.number, order.total = "A-2", 5
    order.save(update_fields=["number"])
    assert last().data["changes"] == {"number": ["A-1", "A-2"]}
    order.save()
    assert last().data["changes"] == {"total": ["0.00", 5]}


def test_change_within_json_is_recorded(order: Order) -> None:
    order.options["gift"] = True
    order.save()
    assert last().data["changes"] == {"options": [{}, {"gift": True}]}


def test_field_that_was_not_loaded_is_named(order: Order) -> None:
    deferred = Order.objects.defer("number").get()
    deferred.number = "A-2"
    deferred.save()
    assert last().data["changes"] == {"number": ["<not loaded>", "A-2"]}


def test_reload_resets_the_values(order: Order) -> None:
    Order.objects.update(number="A-9", total=3)
    order.total = 8
    order.refresh_from_db(fields=["number"])
    order.save()
    assert last().data["changes"] == {"total": ["0.00", 8]}
    Order.objects.update(number="A-10")
    order.refresh_from_db()
    order.number = "A-11"
    order.save()
    assert last().data["changes"] == {"number": ["A-10", "A-11"]}


def test_deferred_field_is_loaded_without_an_entry(order: Order) -> None:
    deferred = Order.objects.defer("number").get()
    assert deferred.number == "A-1"
    deferred.number = "A-2"
    deferred.save()
    assert last().data["changes"] == {"number": ["A-1", "A-2"]}


def test_expression_is_recorded_without_a_query(order: Order) -> None:
    order.total = F("total") + 1
    order.save()
    assert "total" in last().data["changes"]


def test_deletion_is_recorded(order: Order) -> None:
    key = order.pk
    order.delete()
    entry = last()
    assert (entry.action, entry.target) == ("order.deleted", str(key))
    assert entry.data["changes"]["number"] == ["A-1", None]


def test_deletion_of_a_queryset_is_recorded(order: Order) -> None:
    Order.objects.create(number="A-2")
    Order.objects.all().delete()
    assert Entry.objects.filter(action="order.deleted").count() == 2


def test_proxy_and_child_are_recorded(order: Order) -> None:
    rush = RushOrder.objects.get()
    rush.number = "A-2"
    rush.save()
    assert (last().action, last().target_kind) == ("order.updated", "shop.RushOrder")
    gift = Gift.objects.create(number="A-3", message="Hi")
    assert last().data["changes"]["message"] == [None, "Hi"]
    assert Entry.objects.filter(target_kind="shop.Gift", target=str(gift.pk)).count() == 1
    rush.delete()
    assert last().action == "order.deleted"


def test_foreign_key_is_recorded_by_its_column(order: Order, user: Any) -> None:
    order.owner = user
    order.save()
    assert last().data["changes"] == {"owner_id": [None, user.pk]}


@pytest.mark.django_db(transaction=True)
def test_entry_that_cannot_be_written_fails_the_save(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dovetail_audit.entries.tracking.write", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Order.objects.create(number="A-1")
    assert not Order.objects.exists()


def test_fixture_is_not_recorded(order: Order, tmp_path: Any) -> None:
    from django.core.management import call_command

    file = tmp_path / "orders.json"
    call_command("dumpdata", "shop.order", output=str(file))
    call_command("loaddata", str(file), verbosity=0)
    assert Entry.objects.count() == 1


def test_unknown_field_is_refused() -> None:
    class Parcel(models.Model):
        weight = models.IntegerField()

        class Meta:
            app_label = "nowhere"

    with pytest.raises(ValueError, match="@track on Parcel names unknown fields: colour"):
        track(fields=["weight"], secret=["colour"])(Parcel)


class RolledBack(Exception):
    pass


def rolled_back(change: Callable[[], object]) -> None:
    with suppress(RolledBack), transaction.atomic():
        change()
        raise RolledBack


def numbers(action: str = "order.updated") -> list[Any]:
    return [entry.data["changes"]["number"] for entry in Entry.objects.filter(action=action).order_by("pk")]


@pytest.mark.parametrize("is_in_transaction", [False, True])
@pytest.mark.django_db(transaction=True)
def test_save_after_a_rollback_is_recorded(order: Order, is_in_transaction: bool) -> None:
    with transaction.atomic() if is_in_transaction else nullcontext():
        order.number = "A-2"
        rolled_back(order.save)
        order.save()
        order.save()
    assert Order.objects.get().number == "A-2"
    assert numbers() == [["A-1", "A-2"]]


@pytest.mark.django_db(transaction=True)
def test_each_save_of_a_transaction_is_recorded(order: Order) -> None:
    def save_twice() -> None:
        for number in ("A-3", "A-4"):
            order.number = number
            order.save()

    with transaction.atomic():
        order.number = "A-2"
        order.save()
        rolled_back(save_twice)
        order.save()
        with transaction.atomic():
            order.number = "A-5"
            order.save()
    order.number = "A-6"
    order.save()
    assert numbers() == [["A-1", "A-2"], ["A-2", "A-4"], ["A-4", "A-5"], ["A-5", "A-6"]]


@pytest.mark.django_db(transaction=True)
def test_creation_after_a_rollback_is_recorded() -> None:
    order = Order(number="A-1")
    rolled_back(order.save)
    order.save()
    assert numbers("order.created") == [[None, "A-1"]]


@pytest.mark.django_db(transaction=True)
def test_saved_order_can_be_pickled(order: Order) -> None:
    with transaction.atomic():
        order.number = "A-2"
        order.save()
        copy = pickle.loads(pickle.dumps(order))
    copy.number = "A-3"
    copy.save()
    assert numbers() == [["A-1", "A-2"], ["A-2", "A-3"]]


def test_save_with_the_key_of_another_row_is_an_update(order: Order) -> None:
    Order(pk=order.pk, number="A-2").save()
    assert numbers() == [["<not loaded>", "A-2"]]


def test_receiver_that_saves_again_does_not_hide_the_creation(db: None) -> None:
    def save_again(instance: Order, created: bool, **kwargs: Any) -> None:
        if created:
            instance.save()

    post_save.connect(save_again, sender=Order)
    try:
        Order.objects.create(number="A-1")
    finally:
        post_save.disconnect(save_again, sender=Order)
    assert "order.created" in Entry.objects.values_list("action", flat=True)
