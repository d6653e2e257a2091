"""A project without ``django.contrib.auth``, with a user model that inherits nothing from Django's."""

from __future__ import annotations

from pathlib import Path

import pytest
from rest_framework.settings import api_settings
from rest_framework.test import APIClient

from tests.without_auth import run


@pytest.mark.parametrize(
    "path", ["notifications/", "notifications/stream/", "push-devices/", "notification-preferences/"]
)
def test_endpoints_refuse_a_request_without_a_user(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(api_settings, "UNAUTHENTICATED_USER", None)
    assert APIClient().get(f"/api/v1/{path}").status_code in {401, 403}


SETTINGS = """
INSTALLED_APPS += ["django.contrib.sessions", "dovetail_notify", "mills"]
ROOT_URLCONF = "dovetail_notify.api.urls"
NOTIFY_UNSUBSCRIBE_URL = "https://example.com/notifications/unsubscribe/{token}/"
# rest_framework.views imports the class, so it must not import it.
REST_FRAMEWORK |= {"DEFAULT_PERMISSION_CLASSES": ["dovetail_notify.api.permissions.IsRecipient"]}
"""
TYPES = """
from dovetail_notify import NotificationType, Rendered


class Milled(NotificationType, key="mills.milled"):
    channels = {"in_app": True, "email": True}
    example = {}

    def render(self):
        return Rendered(title="The flour is ready", url="https://example.com/flour")
"""
CODE = """
import re
from importlib.util import find_spec

from django.core import mail
from dovetail_notify import notify
from dovetail_notify.outbox.digests import send_digests
from dovetail_notify.realtime.protocol import UNAUTHENTICATED, Refused
from dovetail_notify.realtime.socket_authentication import admit_all, redeem_ticket
from dovetail_notify.transports.previews import previews
from mills.notifications import Milled
from rest_framework.views import APIView

import dovetail_notify.testing
if find_spec("channels"):
    import dovetail_notify.contrib.channels

assert [item.__name__ for item in APIView.permission_classes] == ["IsRecipient"]
assert notify(Milled(), to=Person.objects.all(), dedupe="mill:1").created == 1
assert notify(Milled(), to=ada, dedupe="mill:1").created == 0
(message,) = mail.outbox
assert message.to == ["ada@example.com"]

(row,) = client.get("/notifications/").json()["data"]
assert row["title"] == "The flour is ready"
assert client.post(f"/notifications/{row['id']}/read/").status_code == 200
assert client.get("/notifications/unread-count/").json()["unread"] == 0
choice = {"type": "mills.milled", "channel": "email", "mode": "daily"}
assert client.patch("/notification-preferences/", choice, format="json").status_code == 200
notify(Milled(), to=ada)
assert send_digests().total == 0
token = re.search("unsubscribe/([^/]+)/", message.extra_headers["List-Unsubscribe"])[1]
assert anonymous.post(f"/notifications/unsubscribe/{token}/").status_code == 200
assert [preview.channel for preview in previews(Milled, ada)] == ["in_app", "email"]

ticket = client.post("/notifications/ticket/").json()["ticket"]
assert redeem_ticket(ticket).user == ada


def admit(*headers):
    scope = {"type": "websocket", "path": "/", "query_string": b"", "subprotocols": ["notify.v1"]}
    return admit_all([scope | {"headers": [(b"host", b"testserver"), *headers]}])[0]


(admission, _) = admit((b"authorization", b"Person key"))
assert admission.user == ada
for headers in ((), ((b"cookie", b"sessionid=x"), (b"origin", b"https://testserver"))):
    refused = admit(*headers)
    assert isinstance(refused, Refused) and refused.code == UNAUTHENTICATED, repr(refused)
"""


def test_inbox_mail_and_sockets_work_without_contrib_auth(tmp_path: Path) -> None:
    (tmp_path / "mills").mkdir()
    (tmp_path / "mills" / "__init__.py").touch()
    (tmp_path / "mills" / "notifications.py").write_text(TYPES)
    run(SETTINGS, CODE, tmp_path)
