"""The project's own views obey the contract, by settings alone."""

from __future__ import annotations

from accounts.models import User
from django.test import Client
from orders.models import Order

from dovetail_contract.testing import SchemaMismatch, SchemaRules, held_to_schema

client = Client(SERVER_NAME="localhost", raise_request_exception=False)
for path, status, code in (("/api/orders/", 403, "not_authenticated"), ("/api/nowhere/", 404, "not_found")):
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
assert client.get(answer.json()["type"]).json()["title"] == "Not found"

client.force_login(User.objects.get(username="miller"))
answer = client.get("/api/orders/?page=99")
assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), answer.content
answer = client.get("/api/orders/", headers={"x-request-id": "from-the-gateway"})
assert answer.headers["X-Request-ID"] == "from-the-gateway"
assert answer.json().keys() == {"count", "next", "previous", "results"}

# Its views, which say nothing of schemas, answer what drf-spectacular makes of them.
with held_to_schema(SchemaRules(paths=["/api/orders/"], requests=True)):
    for path, status in (("/api/orders/", 200), ("/api/orders/?page=99", 404), ("/api/orders/0/", 404)):
        assert client.get(path).status_code == status
    made = client.post("/api/orders/", {"number": "described", "total": "1.00"}, "application/json").json()
    assert client.get(f"/api/orders/{made['id']}/").json() == made
    assert client.delete(f"/api/orders/{made['id']}/").status_code == 204
    found = ""
    try:
        client.get("/api/orders/1/nowhere/")
    except SchemaMismatch as error:
        found = str(error)
    assert "does not have this path" in found, found

before = Order.objects.count()
order = {"number": "with-key", "total": "1.00"}
headers = {"idempotency-key": "key-1"}
answers = [client.post("/api/orders/", order, "application/json", headers=headers) for _ in range(2)]
assert [answer.status_code for answer in answers] == [201, 201], answers[0].content
assert answers[1].headers["Idempotent-Replayed"] == "true"
assert answers[0].content == answers[1].content
assert Order.objects.count() == before + 1
order["number"] = "another"
answer = client.post("/api/orders/", order, "application/json", headers=headers)
assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused"), answer.content

answer = client.get("/api/paged/orders/?sort=-number&limit=1")
assert [row["number"] for row in answer.json()["data"]] == ["with-key"], answer.content
assert answer.headers["X-RateLimit-Remaining"] == "1"
answer = client.get(f"/api/paged/orders/?sort=-number&limit=1&cursor={answer.json()['meta']['next']}")
assert [row["number"] for row in answer.json()["data"]] == ["1"], answer.content
assert client.get("/api/paged/orders/?filter[number]=1").json()["code"] == "rate_limited"
Order.objects.filter(number="with-key").delete()
