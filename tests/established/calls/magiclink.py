"""A mail signs in the project's own user, to its session or a token pair; blank and shared addresses are unknown."""

from __future__ import annotations

import json
from types import SimpleNamespace
from unittest.mock import patch

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.test import Client
from django.test.utils import override_settings

from dovetail_magiclink.models import MagicLink, MagicSignIn

User = get_user_model()
client = Client(SERVER_NAME="localhost")
outbox = []
given = {"MAGIC_LINK_MAIL_DISPATCH": "dovetail_magiclink.mail.deliver", "MAGIC_LINK_REQUESTS_PER_ADDRESS": ()}
INVALID = (400, {"error": "invalid_or_expired"})


def post(path, **data):
    answer = client.post(f"/api/auth/magic/{path}/", json.dumps(data), content_type="application/json")
    return answer.status_code, answer.json()


def ask(email):
    status, body = post("request", email=email)
    assert (status, set(body)) == (202, {"request_id"}), (status, body)
    return body["request_id"]


def mailed():
    text = outbox[-1].body
    return text.split("token=")[1].split("&")[0], text.split("&k=")[1].split()[0]


cache.clear()
with (
    override_settings(**given),
    patch("dovetail_core.mail.connection", lambda: SimpleNamespace(send_messages=outbox.extend)),
):
    # Of blank and shared addresses nobody gets a mail, and the answer is that of an unknown one.
    for address in ("shared@example.com", "SHARED@example.com", "nobody@example.com"):
        ask(address)
    assert post("request", email="")[0] == 400
    assert outbox == []

    miller = User.objects.get(username="miller")
    User.objects.filter(pk=miller.pk).update(email="Miller@Example.com")
    # In a project whose requests are transactions, wrong guesses stay counted.
    request_id = ask("miller@example.com")
    assert [message.to for message in outbox] == [["Miller@Example.com"]]
    code, key = mailed()
    for _ in range(6):
        assert post("verify", token=f"{(int(code) + 1) % 10**8:08}", request_id=request_id) == INVALID
    assert MagicLink.objects.get(pk=request_id).attempts == 5
    assert post("verify", token=code, request_id=request_id) == INVALID
    # And the link works all the same, once.
    status, body = post("verify", token=code, k=key)
    assert status == 200, body
    assert post("verify", token=code, k=key) == INVALID
    assert body["user"] == {"id": miller.pk, "email": "Miller@Example.com", "first_name": "", "last_name": ""}

    # By what the project's API accepts, and not by what is installed.
    authenticators = settings.REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"]
    pair = any(path.endswith("JWTAuthentication") for path in authenticators)
    assert body.keys() == ({"access", "refresh", "user"} if pair else {"user"}), body
    # The project's own views take its session.
    assert client.get("/api/orders/").status_code == (403 if pair else 200)
    if pair:
        from rest_framework_simplejwt.tokens import AccessToken

        assert str(AccessToken(body["access"])["user_id"]) == str(miller.pk)
    else:
        assert client.get("/api/session/").json() == {"username": "miller"}
        assert client.get("/api/orders/").json()["count"] == 1

    ask("MILLER@example.com")
    assert post("verify", token=mailed()[0])[0] == 200

    # Who has no account gets none.
    assert not User.objects.filter(email__icontains="nobody").exists()
    assert MagicSignIn.objects.get().user == miller

User.objects.filter(pk=miller.pk).update(email="")
