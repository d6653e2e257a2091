from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from dovetail_notify.transports.calls import callers
from dovetail_notify.types import registry
from tests.features import json_support_is_known  # noqa: F401
from tests.notify.factories import make_user
from tests.notify.push_services import Alarm, Service, certificate, https_service

# Those of parallel/ run in a process of their own, with a database that several connections can open.
collect_ignore = [] if os.environ["DJANGO_SETTINGS_MODULE"] == "tests.notify.settings_on_file" else ["parallel"]


@pytest.fixture
def user(db: None) -> Any:
    return make_user()


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def service(pem: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A server on the loopback interface whose certificate is trusted, and a type that has every channel."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    registry.add(Alarm)
    with https_service(pem) as service:
        settings.NOTIFY_INSIDE_ORIGINS = [service.origin]
        yield service
        callers.close()
    registry.remove(Alarm)


@pytest.fixture
def api(user: Any) -> APIClient:
    client = APIClient()
    client.force_authenticate(user)
    return client
