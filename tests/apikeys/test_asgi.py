"""Under ASGI the view runs on a thread, and the response is closed on the same one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler

from dovetail_apikeys.models import APIKey
from tests.apikeys.factories import make_key
from tests.asynchronous import run

pytestmark = pytest.mark.django_db(transaction=True)


async def send_request(path: str, raw: str) -> int:
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"authorization", f"Bearer {raw}".encode())],
        "client": ("192.0.2.1", 4000),
    }
    communicator = ApplicationCommunicator(ASGIHandler(), scope)
    await communicator.send_input({"type": "http.request", "body": b""})
    status: int = (await communicator.receive_output(timeout=10))["status"]
    while (await communicator.receive_output(timeout=10)).get("more_body"):
        pass
    await communicator.wait()
    return status


@pytest.mark.parametrize(("path", "status"), [("/plain/", 200), ("/refusing/", 500), ("/people/", 403)])
def test_use_is_recorded_under_asgi(path: str, status: int) -> None:
    _api_key, raw = make_key()
    assert run(send_request(path, raw)) == status
    api_key = APIKey.objects.get()
    assert api_key.last_used is not None
    assert api_key.last_used_ip == "192.0.2.1"


def test_concurrent_asgi_requests() -> None:
    _api_key, raw = make_key()
    # It records the use, and the others write nothing: SQLite in memory does not wait for a table that is locked.
    assert run(send_request("/plain/", raw)) == 200

    async def send_all() -> list[int]:
        return await asyncio.gather(*(send_request("/plain/", raw) for _ in range(5)))

    assert run(send_all()) == [200] * 5
    assert run(send_request("/plain/", raw[:-1] + "-")) == 401
