"""Keys of the project's companies: one made in the admin site, which makes another by REST, and what they open."""

from __future__ import annotations

import re

from accounts.models import User
from companies.models import Company
from django.test import Client

from dovetail_apikeys import get_api_key_model

APIKey = get_api_key_model()
mill = Company.objects.get(name="Old Mill")
assert APIKey._meta.get_field("organization").related_model is Company

staff = User.objects.create_superuser("staff", password="grain-and-stone")
admin = Client(SERVER_NAME="localhost")
admin.force_login(staff)
page = admin.post(
    "/admin/dovetail_apikeys/apikey/add/", {"name": "Shop", "organization": mill.pk, "scopes": ["api_keys:*"]}
)
assert page.status_code == 200, page.content
raw = re.search(r"dvt_live_\w+", re.search(r"<code.*?</code>", page.content.decode())[0])[0]
made = APIKey.objects.get()
assert (made.organization, made.created_by) == (mill, staff)
assert raw not in admin.get(f"/admin/dovetail_apikeys/apikey/{made.pk}/change/").content.decode()
staff.delete()


def client(key):
    return Client(SERVER_NAME="localhost", HTTP_AUTHORIZATION=f"Bearer {key}")


shop = client(raw)
# A view of the project's own, in the other database, that declares keys.
answer = shop.get("/api/machines/archive/")
assert answer.status_code == 200, answer.content
assert answer.wsgi_request.META["HTTP_AUTHORIZATION"] == f"Bearer {raw}"

answer = shop.post("/api/v1/api-keys/", {"name": "Till"}, content_type="application/json")
assert answer.status_code == 201, answer.content
assert answer.json()["created_by"] is None
till = client(answer.json()["key"])
assert till.get("/api/machines/archive/").status_code == 200
# The project's other views see no key, and answer as to an anonymous request.
for unchanged in ("/api/archive/", "/api/orders/"):
    anonymous, answered = Client(SERVER_NAME="localhost").get(unchanged), till.get(unchanged)
    assert (answered.status_code, answered.json()["detail"]) == (403, anonymous.json()["detail"]), unchanged
# A view for people that a key reaches nevertheless: 403, and not 500, for request.user.company.
refused = till.get("/api/machines/orders/")
assert refused.status_code == 403, refused.content
# It has no scopes: the endpoints of keys are closed to it.
assert till.get("/api/v1/api-keys/").status_code == 403
assert [row["name"] for row in shop.get("/api/v1/api-keys/").json()["data"]] == ["Till", "Shop"]

# Under ATOMIC_REQUESTS the use is noted all the same.
for key in APIKey.objects.all():
    assert key.last_used is not None, key

path = f"/api/v1/api-keys/{answer.json()['id']}/"
assert shop.post(f"{path}revoke/").status_code == 204
for bad in (till, client("dvt_live_x"), Client(SERVER_NAME="localhost", HTTP_X_API_KEY="x")):
    assert bad.get("/api/archive/").status_code == 403
    answer = bad.get("/api/machines/archive/")
    assert (answer.status_code, answer.json()["detail"]) == (401, "Invalid API key."), answer.content
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'
# Nobody is who nobody was.
assert Client(SERVER_NAME="localhost").get("/api/archive/").status_code == 403
assert shop.delete(path).status_code == 204
APIKey.objects.all().delete()
