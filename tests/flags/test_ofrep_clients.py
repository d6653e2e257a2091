"""The official OFREP clients against a real server: the web SDK (Node) and the Python provider."""

from __future__ import annotations

import json
import subprocess
import threading
import time

import pytest

pytest.importorskip("openfeature.contrib.provider.ofrep", reason="openfeature-provider-ofrep is not installed")

from django.db import connection, connections
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from rest_framework.test import APIClient

from dovetail_flags import flags, services
from dovetail_flags.api.ofrep import EvaluationView
from dovetail_flags.api.views import FeatureViewSet
from tests.flags.api_world import KeyAuthentication, flag, only
from tests.flags.node import FOLDER, requires
from tests.flags.ports import free_port

pytestmark = [pytest.mark.django_db(transaction=True)]

HALF = {"id": "half", "when": [], "serve": {"split": [["on", 50_000], ["off", 50_000]], "by": "targeting_key"}}


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for view in (EvaluationView, FeatureViewSet):
        monkeypatch.setattr(view, "authentication_classes", [KeyAuthentication])


@pytest.fixture
def python_client(live_server):
    def connect(authorization="Key A features:evaluate"):
        headers = {"Authorization": authorization}
        api.set_provider_and_wait(OFREPProvider(live_server.url, headers_factory=lambda: headers))
        return api.get_client()

    yield connect
    api.shutdown()


@pytest.fixture
def asgi_server():
    """Serve the lane's project under ASGI, in a thread of this process."""
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    if connection.vendor == "sqlite":
        pytest.skip("needs PostgreSQL or MariaDB: the threads of the server do not share SQLite's memory")
    from django.core.asgi import get_asgi_application

    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(get_asgi_application(), port=port, log_level="error", lifespan="off", ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.force_exit = server.should_exit = True
    thread.join(20)
    connections.close_all()


class Web:
    """The web SDK in a Node process."""

    def __init__(self, url, authorization):
        command = ["node", "web_client.mjs", url, authorization]
        self.process = subprocess.Popen(
            command, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def send(self, do, **arguments):
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        line = self.process.stdout.readline()
        assert line, "The client has ended."
        return json.loads(line)

    def value(self, key, default=None, kind="boolean"):
        return self.send("details", type=kind, key=key, default=default)["value"]

    def eventually(self, condition):
        deadline = time.monotonic() + 15
        while not condition(self):
            assert time.monotonic() < deadline, self.send("state")
            time.sleep(0.1)


@pytest.fixture
def web_client(live_server):
    clients = []

    def connect(context=None, authorization="Key A features:evaluate"):
        clients.append(Web(live_server.url, authorization))
        return clients[-1], clients[-1].send("start", context=context or {"targetingKey": "x"})

    yield connect
    for client in clients:
        client.process.stdin.close()
        client.process.wait(timeout=20)
        client.process.stdout.close()


def test_python_client_reads_all_types(python_client):
    flag("checkout", default_variant="off", rules=only("A"))
    flag("theme", type="string", variants={"dark": "#000"})
    flag("limit", type="integer", variants={"ten": 10})
    flag("price", type="number", variants={"low": 1})
    flag("colors", type="object", variants={"two": {"a": 1}})
    flag("killed", enabled=False)
    client = python_client()
    assert client.get_boolean_value("checkout", False) is True
    assert client.get_string_value("theme", "") == "#000"
    assert client.get_integer_value("limit", 0) == 10
    assert client.get_float_value("price", 0.0) == 1.0
    assert client.get_object_value("colors", {}) == {"a": 1}
    details = client.get_boolean_details("killed", True)
    assert (details.value, details.reason, details.variant, details.error_code) == (False, "DISABLED", "off", None)
    details = client.get_boolean_details("checkout", False)
    assert (details.reason, details.variant, details.flag_metadata) == ("TARGETING_MATCH", "on", {"version": 1})


def test_python_client_understands_errors(python_client, settings):
    flag("secret-plan", visible=False)
    client = python_client()
    assert client.get_boolean_details("secret-plan", True).error_code == "FLAG_NOT_FOUND"
    refused = client.get_boolean_details("checkout", True, EvaluationContext("x", {"a": "x" * 17_000}))
    assert (refused.value, refused.error_code) == (True, "GENERAL")
    many = EvaluationContext("x", {f"a{number}": 1 for number in range(51)})
    assert client.get_boolean_details("checkout", True, many).error_code == "INVALID_CONTEXT"
    settings.FLAGS_PERMISSION_CLASSES = ["rest_framework.permissions.AllowAny"]
    client = python_client("")
    assert client.get_boolean_details("checkout", True).error_code == "TARGETING_KEY_MISSING"


@requires("@openfeature/ofrep-web-provider")
def test_same_key_has_the_same_variant_everywhere(python_client, web_client, live_server):
    flag(default_variant="off", rules=[HALF])
    python = python_client()
    web, started = web_client()
    assert started == {"ready": True}
    seen = set()
    for number in range(40):
        key = f"organization-{number}"
        ours = flags.enabled("new-checkout", targeting_key=key)
        assert python.get_boolean_value("new-checkout", False, EvaluationContext(key)) is ours
        web.send("context", context={"targetingKey": key})
        assert web.value("new-checkout", False) is ours
        rest = APIClient().get("/api/v1/features/new-checkout/", headers={"Authorization": f"Key {key}"})
        assert rest.json()["value"] is ours
        seen.add(ours)
    assert seen == {True, False}


@requires("@openfeature/ofrep-web-provider")
def test_web_client_reads_all_types(web_client):
    flag("theme", type="string", variants={"dark": "#000"})
    flag("price", type="number", variants={"low": 1.5})
    flag("colors", type="object", variants={"two": {"a": 1}})
    flag("killed", enabled=False)
    flag("secret-plan", visible=False)
    web, _ = web_client()
    assert web.value("theme", "", "string") == "#000"
    assert web.value("price", 0, "number") == 1.5
    assert web.value("colors", {}, "object") == {"a": 1}
    assert web.send("details", type="boolean", key="killed", default=True) == {
        "value": False,
        "variant": "off",
        "reason": "DISABLED",
    }
    assert web.send("details", type="boolean", key="secret-plan", default=True)["errorCode"] == "FLAG_NOT_FOUND"


@requires("@openfeature/ofrep-web-provider")
def test_web_client_polls_with_etags_and_sees_the_kill_switch(web_client):
    row = flag()
    web, _ = web_client()
    assert web.value("new-checkout", False) is True
    web.eventually(lambda web: web.send("state")["requests"][-1:] == [{"status": 304, "conditional": True}])
    services.set_enabled(flag=row, enabled=False)
    web.eventually(lambda web: web.value("new-checkout", True) is False)
    state = web.send("state")
    assert {"status": 200, "conditional": True} in state["requests"]
    assert {"name": "ConfigurationChanged", "changed": ["new-checkout"]} in state["events"]


@requires("@openfeature/ofrep-web-provider")
def test_web_client_cannot_claim_another_organization(web_client):
    flag(default_variant="off", rules=only("B"))
    web, _ = web_client({"targetingKey": "B", "organization": "B"}, "Key A")
    assert web.value("new-checkout", True) is False
    other, _ = web_client({"targetingKey": "A", "organization": "A"}, "Key B")
    assert other.value("new-checkout", False) is True


@requires("@openfeature/ofrep-web-provider")
def test_web_client_understands_refusals(web_client, settings):
    """It calls an error without ``errorCode`` a response that "does not match the expected format"."""
    understood = {"ready": False, "message": "Failed OFREP bulk evaluation request, status: 400", "code": "GENERAL"}
    _, started = web_client(authorization="")
    assert (started["ready"], started["code"]) == (False, "PROVIDER_FATAL")
    settings.FLAGS_PERMISSION_CLASSES = ["rest_framework.permissions.AllowAny"]
    assert web_client({"a": 1}, authorization="")[1] == understood
    assert web_client({"targetingKey": "x", "a": {"b": {"c": {"d": {}}}}})[1] == understood


@requires("@openfeature/ofrep-web-provider")
def test_web_client_keeps_values_while_the_server_fails(web_client, monkeypatch):
    row = flag()
    web, _ = web_client()

    def fail(*args):
        raise RuntimeError("broken")

    with monkeypatch.context() as patched:
        patched.setattr("dovetail_flags.api.ofrep._content", fail)
        web.eventually(lambda web: web.send("state")["status"] in {"STALE", "ERROR"})
        assert web.value("new-checkout", False) is True
    services.set_enabled(flag=row, enabled=False)
    web.eventually(lambda web: web.value("new-checkout", True) is False)


@requires("@openfeature/ofrep-web-provider")
def test_web_client_asks_again_when_the_stream_announces_a_change(asgi_server):
    row = flag()
    web = Web(asgi_server, "Key A")
    try:
        assert web.send("start", context={"targetingKey": "x"}) == {"ready": True}
        assert web.value("new-checkout", False) is True
        # With a stream, it does not poll.
        time.sleep(1)
        assert len(web.send("state")["requests"]) == 1
        services.set_enabled(flag=row, enabled=False)
        web.eventually(lambda web: web.value("new-checkout", True) is False)
        assert [event["type"] for event in web.send("state")["streamed"]] == ["refetchEvaluation"]
    finally:
        web.process.stdin.close()
        web.process.wait(timeout=20)
        web.process.stdout.close()
