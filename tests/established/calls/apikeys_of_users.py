"""Keys of the project's people: made in the admin site and by the person, and what they open."""

from __future__ import annotations

import re

from accounts.models import User
from django.test import Client

from dovetail_apikeys import get_api_key_model

APIKey = get_api_key_model()
assert APIKey._meta.get_field("organization").related_model is User
miller = User.objects.get(username="miller")
staff = User.objects.create_superuser("staff", password="grain-and-stone")
admin = Client(SERVER_NAME="localhost")
admin.force_login(staff)
page = admin.post("/admin/dovetail_apikeys/apikey/add/", {"name": "Home", "organization": miller.pk})
assert page.status_code == 200, page.content
raw = re.search(r"<code[^>]*>(dvt_live_\w+)</code>", page.content.decode())[1]
staff.delete()


def client(key):
    return Client(SERVER_NAME="localhost", HTTP_X_API_KEY=key)


assert client(raw).get("/api/machines/archive/").status_code == 200
person = Client(SERVER_NAME="localhost")
person.force_login(miller)
answer = person.post("/api/v1/api-keys/", {"name": "Laptop"}, content_type="application/json")
assert answer.status_code == 201, answer.content
assert answer.json()["created_by"] == miller.pk
laptop = client(answer.json()["key"])
assert laptop.get("/api/machines/archive/").status_code == 200
assert [row["name"] for row in person.get("/api/v1/api-keys/").json()["data"]] == ["Laptop", "Home"]
# Another person's keys are none of theirs.
other = Client(SERVER_NAME="localhost")
other.force_login(User.objects.get(username="first"))
assert other.get("/api/v1/api-keys/").json()["data"] == []
assert other.get(f"/api/v1/api-keys/{answer.json()['id']}/").status_code == 404

# Views that know people alone: the key acts for its owner.
answer = laptop.get("/api/machines/orders/")
assert answer.status_code == 200, answer.content
assert [order["number"] for order in answer.json()["results"]] == ["1"], answer.content
assert laptop.get("/api/orders/").status_code == 403

User.objects.filter(pk=miller.pk).update(is_active=False)
assert laptop.get("/api/machines/archive/").status_code == 401
User.objects.filter(pk=miller.pk).update(is_active=True)
APIKey.objects.all().delete()
