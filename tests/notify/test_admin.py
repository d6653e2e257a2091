from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from dovetail_notify import get_notification_model, notify
from dovetail_notify.models import Delivery, Device, Preference
from dovetail_notify.outbox.worker import deliver
from dovetail_notify.services import register_device, set_preference
from tests.notify.factories import make_user, make_users
from tests.notify.orders.notifications import OrderShipped, Tip

pytestmark = pytest.mark.django_db
ADMIN = "/admin/dovetail_notify"


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("staff", password="x"))
    return client


def test_every_admin_page_opens(staff, user):
    notify(OrderShipped(number="1"), to=user)
    set_preference(user=user, channel="email", mode="off")
    device = register_device(user=user, kind="fcm", token="push-token")
    for model in ("notification", "delivery", "preference", "organizationpreference", "device"):
        assert staff.get(f"{ADMIN}/{model}/").status_code == 200, model
    for model, key in (
        ("notification", get_notification_model()._default_manager.get().pk),
        ("delivery", Delivery.objects.get().pk),
        ("preference", Preference.objects.get().pk),
        ("device", device.pk),
    ):
        page = staff.get(f"{ADMIN}/{model}/{key}/change/")
        assert page.status_code == 200, model
        # A token is enough to send to the device.
        assert b"push-token" not in page.content
    assert staff.get(f"{ADMIN}/notification/?q={user.username}").status_code == 200


def test_device_list_shows_retirement_and_reason(staff, user):
    register_device(user=user, kind="fcm", token="here", name="Current phone")
    gone = register_device(user=user, kind="web", token="https://push.example.com/secret", name="Former browser")
    Device.objects.filter(pk=gone.pk).update(retired_at=timezone.now(), retired_reason="status 410")
    page = staff.get(f"{ADMIN}/device/?retired_at__isempty=0").content
    assert b"Former browser" in page
    assert b"status 410" in page
    assert b"Current phone" not in page
    assert b"secret" not in page
    assert b"status 410" in staff.get(f"{ADMIN}/device/{gone.pk}/change/").content


def test_list_query_count_does_not_grow_with_rows(staff, django_assert_max_num_queries):
    notify(OrderShipped(number="1"), to=make_users(60))
    for model in ("notification", "delivery"):
        with django_assert_max_num_queries(7):
            staff.get(f"{ADMIN}/{model}/")


def test_every_type_is_previewed_on_every_channel(staff):
    page = staff.get(f"{ADMIN}/notification/types/")
    assert b"orders.shipped" in page.content
    page = staff.get(f"{ADMIN}/notification/types/orders.shipped/").content.decode()
    assert page.count("Order A-1 was shipped") >= 3
    assert "<iframe sandbox srcdoc=" in page
    assert staff.get(f"{ADMIN}/notification/types/no.such/").status_code == 404
    assert get_notification_model()._default_manager.count() == Delivery.objects.count() == 0


def test_broken_render_shows_its_error(staff, monkeypatch):
    def broken(self: Any) -> None:
        raise ZeroDivisionError("<oops>")

    monkeypatch.setattr(Tip, "render", broken)
    page = staff.get(f"{ADMIN}/notification/types/orders.tip/")
    assert b"ZeroDivisionError: &lt;oops&gt;" in page.content


def test_dead_deliveries_can_be_resent(staff, user):
    notify(OrderShipped(number="1"), to=user)
    Delivery.objects.update(state="dead", next_at=None)
    key = Delivery.objects.get().pk
    staff.post(f"{ADMIN}/delivery/", {"action": "resend", "_selected_action": [key]})
    assert deliver().sent == 1


def test_staff_without_permission_are_refused(user):
    viewer = make_user(is_staff=True)
    client = Client()
    client.force_login(viewer)
    for path in ("notification/types/", "notification/types/orders.tip/", "delivery/"):
        assert client.get(f"{ADMIN}/{path}").status_code == 403
    viewer.user_permissions.add(Permission.objects.get(codename="view_delivery"))
    notify(OrderShipped(number="1"), to=user)
    Delivery.objects.update(state="dead", next_at=None)
    data = {"action": "resend", "_selected_action": [Delivery.objects.get().pk]}
    client.post(f"{ADMIN}/delivery/", data)
    assert Delivery.objects.get().state == "dead"


def test_saving_a_preference_sets_its_specificity(staff, user):
    data = {"user": user.pk, "type": "orders.shipped", "channel": "email", "mode": "off", "organization_key": ""}
    assert staff.post(f"{ADMIN}/preference/add/", data).status_code == 302
    assert Preference.objects.get().specificity == 2


def test_deleting_a_notification_deletes_its_deliveries(staff, user):
    notify(OrderShipped(number="1"), to=user)
    notifications = get_notification_model()._default_manager
    assert Delivery.objects.count() == 1
    page = f"{ADMIN}/notification/{notifications.get().pk}/delete/"
    assert b'type="submit"' in staff.get(page).content
    assert staff.post(page, {"post": "yes"}).status_code == 302
    assert notifications.count() == Delivery.objects.count() == 0


def test_deleting_a_notification_requires_only_its_permission(user):
    notify(OrderShipped(number="1"), to=user)
    notifications, client, member = get_notification_model()._default_manager, Client(), make_user(is_staff=True)
    client.force_login(member)
    page = f"{ADMIN}/notification/{notifications.get().pk}/delete/"
    member.user_permissions.add(*Permission.objects.filter(codename__in=["view_notification", "delete_delivery"]))
    assert client.post(page, {"post": "yes"}).status_code == 403
    assert client.post(f"{ADMIN}/delivery/{Delivery.objects.get().pk}/delete/", {"post": "yes"}).status_code == 403
    assert notifications.count() == Delivery.objects.count() == 1
    member.user_permissions.add(Permission.objects.get(codename="delete_notification"))
    assert client.post(page, {"post": "yes"}).status_code == 302
    assert notifications.count() == Delivery.objects.count() == 0
