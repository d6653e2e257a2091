from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from dovetail_notify import notify
from dovetail_notify.models import Delivery, Device, Preference
from dovetail_notify.services import register_device, set_organization_preference, set_preference
from dovetail_notify.transports.email import unsubscribe_token
from tests.notify.factories import make_user
from tests.notify.orders.notifications import OrderShipped

pytestmark = pytest.mark.django_db

PREFERENCES = "/api/v1/notification-preferences/"
DEVICES = "/api/v1/push-devices/"
WEB: Any = {"kind": "web", "token": "https://push.example.com/x", "keys": {"p256dh": "B" * 87, "auth": "a" * 22}}


def cell(answer: Any, type_key: str, channel: str) -> tuple[str, str]:
    assert answer.status_code == 200, answer.content
    (preference,) = [row for row in answer.json()["data"] if (row["type"], row["channel"]) == (type_key, channel)]
    return preference["mode"], preference["source"]


def test_every_preference_has_its_source(api, user, settings):
    assert cell(api.get(PREFERENCES), "orders.shipped", "email") == ("on", "type")
    assert cell(api.get(PREFERENCES), "orders.tip", "email") == ("off", "type")
    assert cell(api.get(PREFERENCES), "security.signed_in", "email") == ("on", "required")
    settings.NOTIFY_ORGANIZATION_RESOLVER = lambda request: "acme"
    set_organization_preference(organization_key="acme", channel="email", mode="daily")
    assert cell(api.get(PREFERENCES), "orders.shipped", "email") == ("daily", "organization")
    set_preference(user=user, channel="email", mode="hourly")
    assert cell(api.get(PREFERENCES), "orders.shipped", "email") == ("hourly", "user")
    assert cell(api.get(PREFERENCES), "security.signed_in", "email") == ("on", "required")


def test_setting_and_clearing_a_preference(api, user):
    body = {"type": "orders.shipped", "channel": "email", "mode": "off"}
    assert cell(api.patch(PREFERENCES, body), "orders.shipped", "email") == ("off", "user")
    assert cell(api.patch(PREFERENCES, {**body, "mode": None}), "orders.shipped", "email") == ("on", "type")
    many = [body, {"type": "*", "channel": "email", "mode": "daily"}]
    answer = api.patch(PREFERENCES, many)
    assert cell(answer, "orders.shipped", "email") == ("off", "user")
    assert cell(answer, "orders.tip", "email") == ("daily", "user")
    assert Preference.objects.count() == 2
    api.patch(PREFERENCES, many)
    assert Preference.objects.count() == 2


@pytest.mark.parametrize(
    "body",
    [
        {"type": "orders.shipped", "channel": "fax", "mode": "on"},
        {"type": "nothing", "channel": "email", "mode": "on"},
        {"type": "orders.shipped", "channel": "email", "mode": "sometimes"},
        {"type": "orders.shipped", "channel": "in_app", "mode": "daily"},
        {"type": "security.signed_in", "channel": "email", "mode": "off"},
        {"type": "orders.quiet", "channel": "email", "mode": "off"},
        {"type": "orders.shipped", "channel": "email"},
        {"type": ["x"], "channel": {}, "mode": 5},
        {"type": "\ud800", "channel": "\0", "mode": "on"},
        [{"type": "*", "channel": "email", "mode": "on"}] * 201,
        [[]],
        "x",
        None,
    ],
)
def test_invalid_preference_is_400(api, body):
    answer = api.patch(PREFERENCES, json.dumps(body), content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert Preference.objects.count() == 0


def test_rejected_list_changes_no_preference(api):
    body = [
        {"type": "orders.shipped", "channel": "email", "mode": "off"},
        {"type": "security.signed_in", "channel": "email", "mode": "off"},
    ]
    answer = api.patch(PREFERENCES, body)
    assert (answer.status_code, set(answer.json())) == (400, {"mode"})
    assert Preference.objects.count() == 0


@pytest.mark.parametrize("value", [5, 1.5, True, None, ["x"]])
@pytest.mark.parametrize("field", ["type", "channel", "mode"])
def test_non_text_preference_is_refused_with_its_field(api, field, value):
    if field == "mode" and value is None:
        return  # restores the default
    answer = api.patch(PREFERENCES, {"type": "orders.shipped", "channel": "email", "mode": "off", field: value})
    assert (answer.status_code, set(answer.json())) == (400, {field})
    assert Preference.objects.count() == 0


def test_statements_compare_preferences_only_if_a_recipient_has_one(user):
    other = make_user()
    set_preference(user=other, channel="email", mode="off")
    table = connection.ops.quote_name(Preference._meta.db_table)
    for recipient, has_preferences in ((user, False), (other, True), (user, False)):
        with CaptureQueriesContext(connection) as queries:
            notify(OrderShipped(number="A-1"), to=recipient)
        # One subquery looks whether there are any.
        assert (sum(query["sql"].count(f"FROM {table}") for query in queries) > 1) is has_preferences
    assert list(Delivery.objects.values_list("notification__recipient", flat=True)) == [user.pk, user.pk]


# --- Unsubscribing ----------------------------------------------------------------------------------------------------


def link(user: Any, type_key: str = "orders.shipped") -> str:
    return f"/api/v1/notifications/unsubscribe/{unsubscribe_token(user, type_key, 'email')}/"


def test_one_click_unsubscribes_without_signing_in(user):
    client = Client(enforce_csrf_checks=True)
    # RFC 8058 3.1: this body, without cookies.
    answer = client.post(link(user), {"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200
    preference = Preference.objects.get()
    assert (preference.user, preference.type, preference.mode) == (user, "orders.shipped", "off")
    assert b"You will not receive any more mail of this kind." in client.post(link(user)).content
    assert Preference.objects.count() == 1


def test_link_of_a_removed_channel_still_unsubscribes(user, settings):
    """The response was 500 (``KeyError: 'email'``) after the project had removed the transport."""
    address = link(user)
    settings.NOTIFY_TRANSPORTS = {}
    assert Client().get(address).status_code == 200
    assert Client().post(address).status_code == 200
    assert Preference.objects.get().mode == "off"
    with pytest.raises(ValueError, match="No transport of NOTIFY_TRANSPORTS has the channel 'email'"):
        set_preference(user=user, channel="email", mode="on")


def test_get_of_the_unsubscribe_page_changes_nothing(user):
    answer = Client().get(link(user))
    assert answer.status_code == 200
    assert b'method="post"' in answer.content
    assert Client().head(link(user)).status_code == 200
    assert Preference.objects.count() == 0


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: f"x{t}", lambda t: "x", lambda t: t.upper(), lambda t: "%00"]
)
def test_tampered_link_is_404(user, change):
    token = unsubscribe_token(user, "orders.shipped", "email")
    path = f"/api/v1/notifications/unsubscribe/{change(token)}/"
    assert Client().post(path).status_code == Client().get(path).status_code == 404


def test_link_of_deleted_account_is_404(user):
    path = link(user)
    user.delete()
    assert Client().post(path).status_code == 404


def test_unsubscribing_from_a_required_type_changes_nothing(user):
    page = Client().post(link(user, "security.signed_in"))
    assert page.status_code == 200
    assert "You cannot unsubscribe from mail of this kind" in page.content.decode()
    assert "You will not receive" not in page.content.decode()
    assert Preference.objects.count() == 0


# --- Devices ----------------------------------------------------------------------------------------------------------


def test_device_can_be_registered_listed_and_removed(api):
    answer = api.post(DEVICES, {**WEB, "name": "Firefox"})
    assert answer.status_code == 201, answer.content
    # The token is a secret.
    assert answer.json().keys() == {"id", "kind", "name", "created_at"}
    (listed,) = api.get(DEVICES).json()["data"]
    assert listed == answer.json()
    assert api.post(DEVICES, {"kind": "fcm", "token": "abc"}).status_code == 201
    assert api.delete(f"{DEVICES}{listed['id']}/").status_code == 204
    assert api.delete(f"{DEVICES}{listed['id']}/").status_code == 404
    assert Device.objects.count() == 1


@pytest.mark.parametrize("value", [5, 1.5, True, None, ["x"]])
@pytest.mark.parametrize("field", ["kind", "name", "token", "keys"])
def test_non_text_is_refused_with_its_field(api, field, value):
    answer = api.post(DEVICES, {**WEB, field: {**WEB["keys"], "auth": value} if field == "keys" else value})
    assert (answer.status_code, set(answer.json())) == (400, {field})
    assert Device.objects.count() == 0


def test_device_moves_to_its_current_user(api, user):
    before = make_user()
    register_device(user=before, kind="fcm", token="abc")
    Device.objects.update(retired_at="2026-01-01T00:00Z")
    assert api.post(DEVICES, {"kind": "fcm", "token": "abc"}).status_code == 201
    device = Device.objects.get()
    assert (device.user, device.retired_at) == (user, None)


def test_other_users_device_is_404(api):
    device = register_device(user=make_user(), kind="fcm", token="abc")
    assert api.get(DEVICES).json()["data"] == []
    assert api.delete(f"{DEVICES}{device.pk}/").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "fcm"},
        {"kind": "pager", "token": "x"},
        {"kind": "webhook", "token": "https://example.com/"},
        {"kind": "fcm", "token": "x" * 2001},
        {"kind": "fcm", "token": f"{'x' * 2000} "},
        {"kind": "fcm", "token": "a\0b"},
        {"kind": "fcm", "token": "\ud800"},
        {"kind": "fcm", "token": "x", "keys": {"auth": "x", "p256dh": "x"}},
        {"kind": "web", "token": "https://push.example.com/x"},
        {**WEB, "keys": {**WEB["keys"], "auth": "<" * 22}},
        {**WEB, "keys": {**WEB["keys"], "auth": "a" * 21}},
        {**WEB, "keys": {**WEB["keys"], "p256dh": "B" * 86}},
        {**WEB, "keys": {**WEB["keys"], "more": "x"}},
        {"kind": "apns", "token": "../../evil"},
        {"kind": "apns", "token": ""},
        {**WEB, "keys": "x"},
        *(
            {**WEB, "token": address}
            for address in (
                "http://push.example.com/",
                "https://169.254.169.254/",
                "https://127.0.0.1/",
                "https://localhost/",
                "https://[::1]/",
                "https://[::ffff:127.0.0.1]/",
                "https://10.0.0.1/",
                "https://push.example.com:6379/",
                "https://user@push.example.com/",
                "https://2130706433/",
                "https://0x7f.0.0.1/",
                "https://127.0.0.0x1/",
                "https://push.example.0x7f/",
                "https://redis/",
                "https://db.internal/",
                "https://push.example.com:x/",
                "https://[fd00::1]/",
                "https://[64:ff9b::7f00:1]/",
                "https:///x",
                "file:///etc/passwd",
                "https://push.example.com/#x",
                "https://push.example.com/ä",
            )
        ),
    ],
)
def test_invalid_device_is_400(api, body):
    answer = api.post(DEVICES, json.dumps(body), content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert Device.objects.count() == Delivery.objects.count() == 0


@pytest.mark.parametrize("host", ["cafe.de", "fade.fae", "8x8.com", "1.2.3.example"])
def test_hexadecimal_name_is_accepted(api, host):
    body = {**WEB, "token": f"https://{host}/x"}
    assert api.post(DEVICES, json.dumps(body), content_type="application/json").status_code == 201


def test_unsubscribe_page_uses_the_readers_language(user):
    address = link(user)
    for language, label in (("de", "Abbestellen"), ("en", "Unsubscribe")):
        with translation.override(language):
            assert f"<button>{label}</button>" in Client().get(address).content.decode()
    with translation.override("de"):
        assert "nicht abbestellen" in Client().post(link(user, "security.signed_in")).content.decode()
