"""What a real Celery worker records."""

from __future__ import annotations

import json
import sys

from tests.composed.processes import run, running

# A person creates an API key, and a receiver of the project enqueues a task that revokes it.
JOURNEY = """
import json, time
import django; django.setup()
from django.db import transaction
from django.test import Client
from dovetail_audit.models import Entry
from dovetail_audit.services import seal
from dovetail_audit.verification.scan import verify
from dovetail_core.events import domain_event
from dovetail_core.queues import publish_task
from tests.composed.revoking import revoke

def enqueue(event, **_):
    if event.name == "api_key.created":
        key = str(event.target.pk)
        transaction.on_commit(lambda: publish_task(revoke, key))

domain_event.connect(enqueue)
client = Client(headers={"host": "localhost"})
pair = client.post(
    "/api/auth/jwt/token/", {"email": "ada@example.com", "password": "demo-password"}, "application/json"
).json()
client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {pair['access']}"
organization = client.get("/api/v1/organizations").json()["data"][0]["id"]
client.defaults["HTTP_X_ORGANIZATION_ID"] = organization
answer = client.post("/api/v1/api-keys", {"name": "CI", "scopes": ["customers:read"]}, "application/json")
assert answer.status_code == 201, answer.content
key, end = answer.json()["id"], time.monotonic() + 60
revocations = Entry.objects.filter(action="api_key.revoked", target=key)
while not revocations.exists() and time.monotonic() < end:
    time.sleep(0.1)
(entry,) = revocations
(created,) = Entry.objects.filter(action="api_key.created", target=key)
shown = client.get(f"/api/v1/audit-log/{entry.pk}").json()
seal()
print(json.dumps({
    "entry": shown,
    "actor": created.actor,
    "organization": organization,
    "request_id": answer.headers["X-Request-ID"],
    "revoked": client.get(f"/api/v1/api-keys/{key}").json()["revoked_at"] is not None,
    "findings": [finding.as_dict() for finding in verify()],
}))
"""


def test_revocation_by_a_worker_has_the_person_and_request_of_its_task(with_broker, demo_database_url):
    variables = {"DJANGO_DEBUG": "true", "DATABASE_URL": demo_database_url, **with_broker}
    worker = [sys.executable, "-m", "celery", "-A", "example_project", "worker", "-l", "info", "--concurrency", "1"]
    with running(*worker, **variables) as process:
        done = run("-c", JOURNEY, **variables)
        output = process.log.read_text()
    assert done.returncode == 0, done.stderr + output
    journey = json.loads(done.stdout.splitlines()[-1])
    entry = journey["entry"]
    assert journey["actor"]
    assert (entry["actor"]["kind"], entry["actor"]["id"]) == ("user", journey["actor"])
    assert (entry["origin"], entry["outcome"], entry["ip"]) == ("task", "success", None)
    assert (entry["request_id"], entry["organization_id"]) == (journey["request_id"], journey["organization"])
    assert entry["target"]["kind"] == "dovetail_apikeys.APIKey"
    assert (journey["revoked"], journey["findings"]) == (True, [])
