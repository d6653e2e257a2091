"""Sessions, passwords and mails for the project's own users, whose addresses are blank or shared."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.test import Client
from django.test.utils import override_settings

from dovetail_identity.models import Session

User = get_user_model()
client = Client(SERVER_NAME="localhost")


def post(path, **data):
    return client.post(f"/api/auth/{path}", data, content_type="application/json")


def bearer(pair):
    return {"HTTP_AUTHORIZATION": f"Bearer {pair['access']}"}


def sign_in(password="grain-and-stone"):
    answer = post("jwt/token/", username="miller", password=password)
    assert answer.status_code == 200, answer.content
    return answer.json()


miller = User.objects.get(username="miller")

# Signing out holds at once, in a project whose requests are transactions.
pair = sign_in()
listed = client.get("/api/v1/me/sessions/", **bearer(pair)).json()["data"]
assert [row["current"] for row in listed].count(True) == 1, listed
assert post("jwt/logout/", refresh=pair["refresh"]).status_code == 204
assert client.get("/api/v1/me/", **bearer(pair)).status_code in {401, 403}
assert post("jwt/refresh/", refresh=pair["refresh"]).status_code == 401

# A superseded token is refused, and what that did stays done.
pair = sign_in()
second = post("jwt/refresh/", refresh=pair["refresh"]).json()
third = post("jwt/refresh/", refresh=second["refresh"]).json()
post("jwt/refresh/", refresh=third["refresh"])
assert post("jwt/refresh/", refresh=pair["refresh"]).status_code == 401
assert Session.objects.filter(revoked_reason="reused").count() == 1
assert post("jwt/refresh/", refresh=third["refresh"]).status_code == 401

# Blank and shared addresses: the same answer, and no mail.
given = {
    "IDENTITY_MAIL_DISPATCH": "dovetail_identity.mail.deliver",
    "IDENTITY_PASSWORD_RESET_URL": "https://app.example.com/reset",
}
outbox = []
with (
    override_settings(**given),
    patch("dovetail_core.mail.connection", lambda: SimpleNamespace(send_messages=outbox.extend)),
):
    for address in ("shared@example.com", "SHARED@example.com", "nobody@example.com", "%", "x"):
        answer = post("password/reset/", email=address)
        assert (answer.status_code, answer.json()) == (202, {}), answer.content
    assert post("password/reset/", email="").status_code == 400
    assert outbox == []
    # Alone, an address gets its mail, as it is stored; the link sets the password once.
    User.objects.filter(pk=miller.pk).update(email="Miller@Example.com")
    assert post("password/reset/", email="miller@example.com").status_code == 202
    assert [message.to for message in outbox] == [["Miller@Example.com"]]
token = outbox[0].body.split("token=")[1].split()[0]
pair = sign_in()
body = {"token": token, "password": "another-grain-and-stone"}
# The sign-in above is noted nowhere, so the link is still good.
assert post("password/reset/confirm/", **body).status_code == 204
assert client.get("/api/v1/me/", **bearer(pair)).status_code in {401, 403}
answer = post("password/reset/confirm/", **body)
assert (answer.status_code, answer.json()) == (400, {"error": "invalid_or_expired"}), answer.content

# A person with a session of the project's own changes the password, and stays signed in.
assert client.post("/api/session/", {"username": "miller", "password": body["password"]}).status_code == 200
answer = post("password/change/", current_password=body["password"], new_password="grain-and-stone")
assert answer.status_code == 204, answer.content
assert client.get("/api/orders/").status_code == 200
assert post("register/", email="new@example.com", password="grain-and-stone").status_code == 403
User.objects.filter(pk=miller.pk).update(email="")
