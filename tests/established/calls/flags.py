"""Flags for the project's own users with integer keys and sessions: templates, REST, OFREP and their administration."""

from __future__ import annotations

from accounts.models import User
from django.template import engines
from django.test import Client, RequestFactory

from dovetail_flags import flags, services
from dovetail_flags.models import FlagRevision

miller = User.objects.get(username="miller")
other = User.objects.exclude(pk=miller.pk).order_by("pk").first()
mine = {"id": "mine", "when": [{"attribute": "user", "op": "in", "values": [miller.pk]}], "serve": "on"}
row = services.create_flag(
    key="new-orders", enabled=True, client_visible=True, default_variant="off", rules=[mine], actor=miller
)

client = Client(SERVER_NAME="localhost")
assert client.get("/api/v1/features/").status_code in {401, 403}
client.force_login(miller)
answer = client.get("/api/v1/features/")
assert answer.status_code == 200, answer.content
assert answer.json()["data"] == [
    {"key": "new-orders", "type": "boolean", "value": True, "variant": "on", "reason": "TARGETING_MATCH"}
]
assert client.get("/api/v1/features/", headers={"if-none-match": answer.headers["ETag"]}).status_code == 304
neighbour = Client(SERVER_NAME="localhost")
neighbour.force_login(other)
assert neighbour.get("/api/v1/features/new-orders/").json()["value"] is False
claim = {"context": {"targetingKey": str(miller.pk), "user": miller.pk}}
answer = neighbour.post("/ofrep/v1/evaluate/flags", claim, content_type="application/json")
assert [entry["value"] for entry in answer.json()["flags"]] == [False], answer.content

request = RequestFactory().get("/")
template = engines["django"].from_string(
    '{% load dovetail_flags %}{% flag "new-orders" %}new{% else %}old{% endflag %}'
)
for user, text in ((miller, "new"), (other, "old")):
    request = RequestFactory().get("/")
    request.user = user
    assert template.render({}, request) == text

# Only people with Django's permissions change flags; a request is a transaction in this project.
assert client.post("/admin/v1/features/new-orders/disable/").status_code == 403
root = Client(SERVER_NAME="localhost")
root.force_login(User.objects.create_superuser("flags-root", "root@example.com", "x"))
answer = root.post("/admin/v1/features/new-orders/disable/", {"reason": "burns"}, content_type="application/json")
assert (answer.status_code, answer.json()["enabled"]) == (200, False), answer.content
assert client.get("/api/v1/features/new-orders/").json()["value"] is False
answer = root.patch("/admin/v1/features/new-orders/", {"name": "x"}, "application/json", headers={"if-match": '"v1"'})
assert answer.status_code == 412, answer.content
assert root.get("/admin/v1/features/?filter[enabled]=false").json()["data"][0]["key"] == "new-orders"
assert root.get("/admin/dovetail_flags/flag/").status_code == 200
assert FlagRevision.objects.order_by("-version").first().reason == "burns"
assert flags.enabled("new-orders", targeting_key="7") is False
User.objects.filter(username="flags-root").delete()
