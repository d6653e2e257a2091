"""Unleash behind ``flags``, with a real server: organizations, percentages, types, and its kill switch."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import closing
from urllib.parse import urlsplit

import pytest

pytest.importorskip("UnleashClient", reason="UnleashClient is not installed")
pytest.importorskip("psycopg", reason="psycopg is not installed")

import psycopg
import requests
from django.test import override_settings
from rest_framework.test import APIClient

from dovetail_flags import flags
from tests.flags.api_world import user
from tests.flags.node import FOLDER, requires
from tests.flags.ports import free_port

DATABASE_URL = os.environ.get("DATABASE_URL", "")
pytestmark = [
    pytest.mark.skipif(not DATABASE_URL.startswith("postgres"), reason="needs PostgreSQL, where Unleash stores flags"),
    requires("unleash-server"),
]
PROJECT = "/api/admin/projects/default/features"
REFRESH = 1


class Server:
    """Unleash's admin API."""

    def __init__(self, url):
        self.url = url

    def send(self, path, body=None):
        headers = {"Authorization": "*:*.admin-token"}
        response = requests.post(f"{self.url}{path}", json=body or {}, headers=headers, timeout=20)
        assert response.ok, (path, response.status_code, response.text)

    def create(self, name, *strategies):
        self.send(PROJECT, {"name": name, "type": "release"})
        for strategy in strategies:
            self.send(f"{PROJECT}/{name}/environments/development/strategies", strategy)
        self.switch(name, "on")

    def switch(self, name, state):
        self.send(f"{PROJECT}/{name}/environments/development/{state}")


def rollout(percent, constraints=()):
    parameters = {"rollout": str(percent), "stickiness": "userId", "groupId": "half"}
    return {"name": "flexibleRollout", "parameters": parameters, "constraints": list(constraints)}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    parts = urlsplit(DATABASE_URL)
    name = f"{parts.path[1:]}_unleash"
    administration = parts._replace(path="/postgres").geturl()
    with closing(psycopg.connect(administration, autocommit=True)) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}"')
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_HOST": parts.hostname,
        "DATABASE_PORT": str(parts.port or 5432),
        "DATABASE_USERNAME": parts.username or "postgres",
        "DATABASE_PASSWORD": parts.password or "x",
        "DATABASE_NAME": name,
        "DATABASE_SSL": "false",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(port),
        "CHECK_VERSION": "false",
        "SEND_TELEMETRY": "false",
        "TZ": "UTC",
        "LOG_LEVEL": "warn",
        "INIT_ADMIN_API_TOKENS": "*:*.admin-token",
        "INIT_CLIENT_API_TOKENS": "default:development.client-token",
    }
    log = tmp_path_factory.mktemp("unleash") / "server.log"
    with log.open("wb") as output:
        command = ["node", str(FOLDER / "node_modules/unleash-server/dist/server.js")]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, log)
        unleash = Server(url)
        # A constraint on an undeclared field is refused, and the flag is then on for everybody.
        unleash.send("/api/admin/context", {"name": "organization"})
        in_a = {"contextName": "organization", "operator": "IN", "values": ["A"]}
        unleash.create("new-checkout", rollout(100, [in_a]))
        unleash.create("half", rollout(30))
        dark = {"name": "dark", "weight": 1000, "payload": {"type": "string", "value": "#000"}, "stickiness": "default"}
        unleash.create("theme", {**rollout(100), "variants": [{**dark, "weightType": "variable"}]})
        unleash.create("burning", rollout(100))
        yield unleash
    finally:
        process.terminate()
        process.wait(timeout=30)
        with closing(psycopg.connect(administration, autocommit=True)) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _wait(process, url, log):
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.5)
    raise AssertionError(f"Unleash does not start:\n{log.read_text()}")


@pytest.fixture
def unleash(server, tmp_path, monkeypatch):
    # The client stores its flags in files, which would outlive the server.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = {
        "url": f"{server.url}/api",
        "app_name": tmp_path.name,
        "api_token": "default:development.client-token",
        "refresh_seconds": REFRESH,
    }
    with override_settings(FLAGS_PROVIDER="dovetail_flags.contrib.unleash.provider", FLAGS_PROVIDER_OPTIONS=options):
        yield server
    flags.reset()


def checkout(organization):
    return flags.enabled("new-checkout", targeting_key="7", attributes={"organization": organization})


def eventually(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "The change does not arrive."
        time.sleep(0.1)


def test_constraint_on_the_organization_decides(unleash):
    assert (checkout("A"), checkout("B")) == (True, False)
    assert flags.health().healthy


def test_growing_percentage_of_unleash_only_adds_people(unleash):
    keys = [f"user-{number}" for number in range(2000)]
    before = {key for key in keys if flags.enabled("half", targeting_key=key)}
    assert 500 < len(before) < 700
    unleash.create("half-of-all", rollout(60))
    eventually(lambda: flags.enabled("half-of-all", targeting_key=next(iter(before))))
    after = {key for key in keys if flags.enabled("half-of-all", targeting_key=key)}
    assert before < after


def test_variant_of_unleash_is_a_typed_value(unleash):
    details = flags.details("theme", default="light", targeting_key="7")
    assert (details.value, details.variant) == ("#000", "dark")
    assert flags.value("theme", default=7, targeting_key="7") == 7


def test_kill_switch_of_unleash_arrives_within_its_interval(unleash):
    assert flags.enabled("burning", targeting_key="7")
    unleash.switch("burning", "off")
    begun = time.monotonic()
    eventually(lambda: not flags.enabled("burning", targeting_key="7"))
    assert time.monotonic() - begun < REFRESH + 5
    unleash.switch("burning", "on")


def test_unknown_flag_is_the_default(unleash):
    assert flags.enabled("unknown", default=True, targeting_key="7") is True
    assert flags.details("unknown", default=False, targeting_key="7").reason == "DEFAULT"


@pytest.mark.django_db
def test_administration_is_refused_with_unleash(unleash):
    client = APIClient()
    client.force_login(user("root", "toggle_flag"))
    answer = client.post("/admin-api/v1/features/burning/disable/", {}, format="json")
    assert (answer.status_code, answer.data["detail"].code) == (501, "flags_read_only")
