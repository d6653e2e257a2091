from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db.models.sql.compiler import SQLCompiler
from rest_framework.test import APIClient

from dovetail_notify.transports.http.calls import clients
from dovetail_notify.types import registry
from tests.features import json_support_is_known  # noqa: F401
from tests.notify.factories import make_user
from tests.notify.push_services import Alarm, Service, certificate, https_service

# The tests in parallel/ run in a separate process, with a database that several connections can open.
collect_ignore = [] if os.environ["DJANGO_SETTINGS_MODULE"] == "tests.notify.settings_on_file" else ["parallel"]


@pytest.fixture
def user(db: None) -> Any:
    return make_user()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models of the queries that the ORM has compiled since the fixture started."""
    models: list[str] = []
    as_sql = SQLCompiler.as_sql

    def noted(self: SQLCompiler, *args: Any, **kwargs: Any) -> Any:
        models.append(self.query.model.__name__)
        return as_sql(self, *args, **kwargs)

    monkeypatch.setattr(SQLCompiler, "as_sql", noted)
    return models


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def service(pem: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A server on the loopback interface with a trusted certificate, and a type that uses every channel."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    registry.add(Alarm)
    with https_service(pem) as service:
        settings.NOTIFY_INSIDE_ORIGINS = [service.origin]
        yield service
        clients.close()
    registry.remove(Alarm)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A resolver that returns the next of ``answers`` for push.example.com, and repeats the last one.

    ``lookups`` lists the look-ups, and ``connected`` the addresses of connections.
    """

    class Resolver:
        answers: list[list[str]] = []
        lookups: list[str] = []
        connected: list[str] = []

    state = Resolver()
    state.answers, state.lookups, state.connected = [], [], []
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "push.example.com":
            return real(host, port, *args, **kwargs)
        state.lookups.append(host)
        addresses = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
        if not addresses:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    def create_connection(address: Any, *args: Any, **kwargs: Any) -> Any:
        # Like the real function, which resolves a name again.
        addresses = socket.getaddrinfo(address[0], address[1], type=socket.SOCK_STREAM)
        state.connected.append(addresses[0][4][0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "create_connection", create_connection)
    return state


@pytest.fixture
def api(user: Any) -> APIClient:
    client = APIClient()
    client.force_authenticate(user)
    return client
