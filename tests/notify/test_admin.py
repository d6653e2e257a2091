from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils import timezone

from dovetail_core.admin import LimitToOrganizations
from dovetail_notify import get_notification_model, notify
from dovetail_notify.admin import PreferenceAdmin
from dovetail_notify.models import Delivery, Device, OrganizationPreference, Preference
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


@pytest.fixture
def limited(settings: Any) -> tuple[Client, Group, Group]:
    """Staff of one organization with all permissions, and two organizations."""
    ours, theirs = (Group.objects.create(name=name) for name in ("Ours", "Theirs"))
    member = make_user(is_staff=True)
    member.groups.add(ours)
    member.user_permissions.set(Permission.objects.all())
    settings.DOVETAIL_ADMIN_ORGANIZATIONS = lambda request: request.user.groups.all()
    client = Client()
    client.force_login(member)
    return client, ours, theirs


def test_staff_see_notifications_and_deliveries_of_their_organizations(limited, user):
    client, ours, theirs = limited
    for number, organization in (("A-ours", ours), ("A-theirs", theirs), ("A-nobody", None)):
        notify(OrderShipped(number=number), to=user, organization=organization)
    Delivery.objects.update(state="dead", next_at=None)
    assert [row.title for row in client.get(f"{ADMIN}/notification/").context["cl"].result_list] == [
        "Order A-ours was shipped"
    ]
    assert len(client.get(f"{ADMIN}/delivery/").context["cl"].result_list) == 1
    hidden = Delivery.objects.exclude(notification__organization_key=str(ours.pk))
    assert len(hidden) == 2
    for delivery in hidden:
        assert client.get(f"{ADMIN}/delivery/{delivery.pk}/change/").status_code == 302
        assert client.post(f"{ADMIN}/notification/{delivery.notification_id}/delete/").status_code == 403
    keys = list(Delivery.objects.values_list("pk", flat=True))
    client.post(f"{ADMIN}/delivery/", {"action": "resend", "_selected_action": keys})
    assert list(Delivery.objects.filter(state="pending").values_list("notification__organization_key", flat=True)) == [
        str(ours.pk)
    ]


@pytest.mark.parametrize("model", ["preference", "organizationpreference"])
def test_staff_set_preferences_of_their_organizations(limited, user, model):
    client, ours, theirs = limited
    data = {"user": user.pk, "type": "orders.shipped", "channel": "email", "mode": "off"}
    for key in (theirs.pk, "", "x"):
        page = client.post(f"{ADMIN}/{model}/add/", {**data, "organization_key": key})
        assert page.context["adminform"].form.errors.keys() == {"organization_key"}
        assert b"Theirs" not in page.content
    assert client.post(f"{ADMIN}/{model}/add/", {**data, "organization_key": ours.pk}).status_code == 302
    (preference,) = (*Preference.objects.all(), *OrganizationPreference.objects.all())
    assert preference.organization_key == str(ours.pk)
    type(preference).objects.update(organization_key=theirs.pk)
    assert client.get(f"{ADMIN}/{model}/{preference.pk}/change/").status_code == 302
    assert len(client.get(f"{ADMIN}/{model}/").context["cl"].result_list) == 0


def test_superuser_deletes_a_user_with_deliveries(staff, user):
    notify(OrderShipped(number="1"), to=user)
    page = f"/admin/auth/user/{user.pk}/delete/"
    assert b'type="submit"' in staff.get(page).content
    assert staff.post(page, {"post": "yes"}).status_code == 302
    assert get_notification_model()._default_manager.count() == Delivery.objects.count() == 0


def test_deleting_a_user_requires_the_permission_to_delete_notifications(user):
    notify(OrderShipped(number="1"), to=user)
    member, client = make_user(is_staff=True), Client()
    client.force_login(member)
    member.user_permissions.add(*Permission.objects.filter(codename__in=["delete_user", "delete_delivery"]))
    page = f"/admin/auth/user/{user.pk}/delete/"
    assert client.post(page, {"post": "yes"}).status_code == 403
    member.user_permissions.add(Permission.objects.get(codename="delete_notification"))
    assert client.post(page, {"post": "yes"}).status_code == 302


def test_hidden_notifications_refuse_deletion_of_their_recipient(limited, user, django_assert_max_num_queries):
    client, ours, theirs = limited
    notify(OrderShipped(number="A-ours"), to=user, organization=ours)
    page = f"/admin/auth/user/{user.pk}/delete/"
    assert b"A-ours" in client.get(page).content
    for number in range(20):
        notify(OrderShipped(number=f"A-theirs{number}"), to=user, organization=theirs)
    with django_assert_max_num_queries(30):
        assert b"A-theirs" not in client.get(page).content
    assert client.post(page, {"post": "yes"}).status_code == 403
    assert Delivery.objects.count() == 21


def test_models_of_the_same_name_as_deliveries_require_their_permission(staff, user, monkeypatch):
    preference = set_preference(user=user, channel="email", mode="off")
    monkeypatch.setattr(Preference._meta, "verbose_name", Delivery._meta.verbose_name)
    monkeypatch.setattr(PreferenceAdmin, "has_delete_permission", lambda *args: False)
    request = staff.get(f"{ADMIN}/notification/").wsgi_request
    # As if preferences pointed at notifications. Translations can give two models the same name.
    options = admin.site.get_model_admin(get_notification_model())
    assert options.get_deleted_objects([preference], request)[2] == {Delivery._meta.verbose_name}


def test_many_to_many_fields_offer_visible_organizations(limited):
    class MemberAdmin(LimitToOrganizations, admin.ModelAdmin):
        """Persons with a field of many organizations."""

    client, ours, _theirs = limited
    user_model = get_user_model()
    request = client.get(f"{ADMIN}/notification/").wsgi_request
    field = MemberAdmin(user_model, admin.site).formfield_for_dbfield(user_model._meta.get_field("groups"), request)
    assert list(field.queryset) == [ours]
