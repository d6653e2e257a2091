"""Changes in the admin site."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.test import Client
from rest_framework.authtoken.models import Token

from dovetail_audit.models import Entry
from tests.audit.shop.models import Order, Product, RushOrder

pytestmark = pytest.mark.django_db

PRODUCTS = "/admin/shop/product/"


@pytest.fixture
def admin(client: Client) -> Any:
    user = get_user_model().objects.create_superuser("root", "root@example.com", "hunter22")
    client.force_login(user)
    Entry._base_manager.all().delete()
    return user


@pytest.fixture
def products(db: None) -> list[Product]:
    return [Product.objects.create(name=f"Tea {number}", secret_note="old") for number in range(5)]


def test_addition_is_recorded(client: Client, admin: Any) -> None:
    client.post(f"{PRODUCTS}add/", {"name": "Tea", "price": "1", "secret_note": "x"})
    entry = Entry.objects.get()
    assert (entry.action, entry.actor, entry.origin) == ("admin_site.created", str(admin.pk), "admin_site")
    assert (entry.target_kind, entry.target) == ("shop.Product", str(Product.objects.get().pk))
    assert entry.target_label == "Tea"
    assert entry.data["changes"] == {"name": [None, "Tea"], "price": [None, "1"], "secret_note": "changed"}


def test_change_holds_values_before_and_after(client: Client, admin: Any, products: list[Product]) -> None:
    path = f"{PRODUCTS}{products[0].pk}/change/"
    client.post(path, {"name": "Coffee", "price": "0.00", "secret_note": "new"})
    entry = Entry.objects.get()
    assert entry.action == "admin_site.updated"
    assert entry.data["changes"] == {"name": ["Tea 0", "Coffee"], "secret_note": "changed"}
    assert "new" not in json.dumps(entry.data["changes"])


def test_deletion_of_one_object_is_recorded(client: Client, admin: Any, products: list[Product]) -> None:
    client.post(f"{PRODUCTS}{products[0].pk}/delete/", {"post": "yes"})
    assert (Entry.objects.get().action, Entry.objects.get().target) == ("admin_site.deleted", str(products[0].pk))


def test_delete_selected_makes_an_entry_for_each_object(client: Client, admin: Any, products: list[Product]) -> None:
    keys = [product.pk for product in products]
    data = {"action": "delete_selected", "_selected_action": keys}
    client.post(PRODUCTS, data)
    assert not Entry.objects.exists()
    client.post(PRODUCTS, {**data, "post": "yes"})
    assert not Product.objects.exists()
    assert sorted(Entry.objects.values_list("action", "target")) == sorted(
        ("admin_site.deleted", str(key)) for key in keys
    )


def test_action_is_recorded_with_the_selected_keys(client: Client, admin: Any, products: list[Product]) -> None:
    client.post(PRODUCTS, {"action": "give_away", "_selected_action": [products[0].pk, products[1].pk]})
    entry = Entry.objects.get()
    assert (entry.action, entry.target_kind) == ("admin_site.action_run", "shop.Product")
    assert entry.data["parameters"] == {
        "action": "give_away",
        "selected": 2,
        "all": False,
        "ids": [str(products[0].pk), str(products[1].pk)],
    }


def test_failed_action_is_not_recorded_as_done(client: Client, admin: Any, products: list[Product]) -> None:
    client.raise_request_exception = False
    client.post(PRODUCTS, {"action": "fail", "_selected_action": [products[0].pk]})
    assert [entry.action for entry in Entry.objects.all()] == ["request.failed"]


def test_row_of_the_list_is_recorded(client: Client, admin: Any, products: list[Product]) -> None:
    form: dict[str, Any] = {"form-TOTAL_FORMS": 5, "form-INITIAL_FORMS": 5, "_save": "Save"}
    for index, product in enumerate(reversed(products)):
        form |= {f"form-{index}-id": product.pk, f"form-{index}-price": "7.00" if index == 0 else "0.00"}
    client.post(PRODUCTS, form)
    entry = Entry.objects.get()
    assert (entry.target, entry.data["changes"]) == (str(products[-1].pk), {"price": ["0.00", "7.00"]})


def test_refused_page_is_recorded(client: Client, user: Any) -> None:
    user.is_staff = True
    user.save()
    client.force_login(user)
    client.get(f"{PRODUCTS}add/")
    entry = Entry.objects.get(action="request.denied")
    assert (entry.actor, entry.origin) == (str(user.pk), "admin_site")


def test_other_admins_are_recorded_by_their_log_entries(client: Client, admin: Any) -> None:
    order = Order.objects.create(number="A-1", phone="1")
    Entry._base_manager.all().delete()
    client.post(f"/admin/shop/order/{order.pk}/delete/", {"post": "yes"})
    entry = Entry.objects.get(action="admin_site.deleted")
    assert (entry.target_kind, entry.target) == ("shop.Order", str(order.pk))
    # Orders have a secret field, which str() may return.
    assert entry.private is None


def test_object_is_not_recorded_twice(client: Client, admin: Any) -> None:
    client.post(f"{PRODUCTS}add/", {"name": "Tea", "price": "1"})
    assert (LogEntry.objects.count(), Entry.objects.count()) == (1, 1)


def test_admin_site_can_be_left_out(client: Client, admin: Any, settings: Any, products: list[Product]) -> None:
    settings.AUDIT_ADMIN_SITE = False
    client.post(f"{PRODUCTS}add/", {"name": "Tea", "price": "1"})
    client.post(PRODUCTS, {"action": "give_away", "_selected_action": [products[0].pk]})
    assert not Entry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_action_can_open_durable_blocks(client: Client, admin: Any) -> None:
    product = Product.objects.create(name="Tea")
    client.post(PRODUCTS, {"action": "audit_stock", "_selected_action": [product.pk]})
    assert Product.objects.get().price == 1
    assert list(Entry.objects.order_by("pk").values_list("action", "outcome")) == [
        ("stock.audited", "intent"),
        ("stock.audited", "success"),
        ("admin_site.action_run", "success"),
    ]


def test_fields_of_a_tracked_model_stay_secret_and_personal(client: Client, admin: Any) -> None:
    order = RushOrder.objects.create(number="A-1", phone="123", pickup="4711")
    Entry._base_manager.all().delete()
    form = {"number": "A-2", "phone": "456", "pickup": "0815"}
    client.post(f"/admin/shop/rushorder/{order.pk}/change/", form)
    entry = Entry.objects.get(action="admin_site.updated")
    assert entry.data["changes"] == {"number": ["A-1", "A-2"], "phone": "[personal]", "pickup": "changed"}
    assert entry.private == {"changes.phone": ["123", "456"]}


def test_names_of_inline_objects_are_personal(client: Client, admin: Any) -> None:
    form: dict[str, Any] = {"first_name": "Ada", "order_set-TOTAL_FORMS": 2, "order_set-INITIAL_FORMS": 0}
    form |= {"order_set-0-number": "Grace Hopper", "order_set-0-owner": admin.pk}
    form |= {"order_set-1-number": "abcdefgh12345678abcd", "order_set-1-owner": admin.pk}
    client.post(f"/admin/shop/owner/{admin.pk}/change/", form)
    entry = Entry.objects.get(action="admin_site.updated")
    assert entry.data["extra"]["message"][1:] == [{"added": {"name": "order", "object": "[personal]"}}] * 2
    assert entry.private is not None
    assert entry.private["extra.message.1.added.object"] == "Order of Grace Hopper"
    assert entry.private["extra.message.2.added.object"] == "Order of [redacted]"


@pytest.mark.parametrize("message", ["Called Grace Hopper.", ["Called Grace Hopper."]])
def test_text_of_a_log_entry_is_personal(admin: Any, message: Any) -> None:
    LogEntry.objects.create(
        user=admin, content_type=None, object_id="5", object_repr="Tea", action_flag=CHANGE,
        change_message=json.dumps(message) if isinstance(message, list) else message,
    )  # fmt: skip
    entry = Entry.objects.get()
    assert "Grace" not in json.dumps(entry.data)
    assert "Called Grace Hopper." in entry.private.values()


def test_token_is_not_recorded(client: Client, admin: Any) -> None:
    client.post("/admin/authtoken/tokenproxy/add/", {"user": admin.pk})
    token = Token.objects.get()
    rows = json.dumps([*Entry.objects.values()], default=repr)
    assert "admin_site.created" in rows
    assert token.key not in rows
