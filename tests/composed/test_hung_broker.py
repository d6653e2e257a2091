"""A broker that is up and says nothing: kernels accept connections for a stopped process, so connecting succeeds."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.composed.processes import free_port, run
from tests.composed.servers import REDIS, Redis

ROOT = Path(__file__).parents[2]

#: Requests of each endpoint that enqueues, first and next, in one process. Prints their statuses and seconds.
REQUESTS = """
import json, logging, os, signal, time, django
from django.conf import settings
# The hash of a registration takes a second.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]
django.setup()
logging.disable(logging.CRITICAL)
from itertools import count
from django.test import Client
client, numbers = Client(headers={"host": "127.0.0.1"}), count()
AUTH, API = "/api/auth", "/api/v1"

def post(path, method="POST", **body):
    begun = time.monotonic()
    answer = client.generic(method, path, json.dumps(body), "application/json", headers=headers)
    return answer, round(time.monotonic() - begun, 2)

headers = {}
pair = post(f"{AUTH}/jwt/token/", email="ada@example.com", password="demo-password")[0].json()
signed_in = {"authorization": f"Bearer {pair['access']}"}
organization = client.get(f"{API}/organizations", headers=signed_in).json()["data"][0]["id"]
signed_in["x-organization-id"] = organization
rows = client.get(f"{API}/invoices", headers=signed_in).json()["data"]
unpaid = iter(row["id"] for row in rows if row["status"] != "paid")
invitations = f"{API}/organizations/{organization}/invitations"
requests = {
    "reset": lambda: post(f"{AUTH}/password/reset/", email="ada@example.com"),
    "register": lambda: post(f"{AUTH}/register/", email=f"new{next(numbers)}@example.com", password="correct horse 9"),
    "register again": lambda: post(f"{AUTH}/register/", email="new0@example.com", password="correct horse 9"),
    "magic": lambda: post(f"{AUTH}/magic/request/", email=f"magic{next(numbers)}@example.com"),
    "invite": lambda: post(invitations, email=f"guest{next(numbers)}@example.com", role="member"),
    "pay": lambda: post(f"{API}/invoices/{next(unpaid)}", "PATCH", status="paid"),
}
if "BROKER_PID" in os.environ:
    # Stopped while the process has connections to it. Those that it opens later hang as well.
    assert post(f"{AUTH}/password/reset/", email="ada@example.com")[1] < 10
    os.kill(int(os.environ["BROKER_PID"]), signal.SIGSTOP)
# The first request of each endpoint imports modules.
for name, request in requests.items():
    headers = signed_in if name in ("invite", "pay") else {}
    request()
measured = {}
for name, request in requests.items():
    headers = signed_in if name in ("invite", "pay") else {}
    forget()
    measured[name] = [(answer.status_code, seconds) for answer, seconds in (request(), request(), request())]
print("MEASURED", json.dumps(measured), flush=True)
"""


@contextlib.contextmanager
def hung_redis(folder: Path) -> Iterator[dict[str, str]]:
    redis = Redis(folder, free_port())
    redis.start()
    assert redis.process is not None
    try:
        yield {
            "CELERY_BROKER_URL": f"redis://127.0.0.1:{redis.port}/0",
            "BROKER_PID": str(redis.process.pid),
        }
    finally:
        redis.stop()


@contextlib.contextmanager
def hung_amqp(folder: Path) -> Iterator[dict[str, str]]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield {"CELERY_BROKER_URL": f"amqp://guest:guest@127.0.0.1:{server.getsockname()[1]}//"}


@pytest.mark.parametrize(
    "hung",
    [
        pytest.param(hung_redis, marks=pytest.mark.skipif(REDIS is None, reason="no redis-server")),
        # Each takes 15 seconds of waiting.
        pytest.param(
            hung_amqp,
            marks=pytest.mark.skipif("TESTS_EXHAUSTIVE" not in os.environ, reason="TESTS_EXHAUSTIVE is not set"),
        ),
    ],
)
def test_hung_broker_delays_one_request_only(demo_database_url, tmp_path, hung):
    forget = "def forget():\n    from dovetail_core import queues\n    queues.circuit.close()\n"
    with hung(tmp_path) as broker:
        done = run(
            "-c",
            forget + REQUESTS,
            DJANGO_SETTINGS_MODULE="example_project.settings",
            DJANGO_DEBUG="true",
            DATABASE_URL=demo_database_url,
            **broker,
        )
    assert "MEASURED" in done.stdout, done.stderr
    measured = json.loads(done.stdout.rpartition("MEASURED")[2])
    for name, ((status, first), *others) in measured.items():
        assert (name, status) in {(name, 200), (name, 201), (name, 202)}, measured
        # Without the circuit breaker, a request waits for 10 seconds or more. The bounds are for a busy machine.
        assert 1 < first < 8, measured
        assert all(later < first and later < 1.9 and status < 300 for status, later in others), measured
