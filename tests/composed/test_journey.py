"""The service as an operator runs it, with an HTTP client."""

from __future__ import annotations

import signal
import socket
import sys
from importlib.util import find_spec

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.composed.journeys import journey
from tests.composed.processes import (
    PRODUCTION,
    call,
    free_port,
    run,
    running,
    wait_until_up,
)


def test_serve_needs_no_services_and_stops_cleanly(database_url):
    port = free_port()
    with running(sys.executable, "serve.py", PORT=str(port), DATABASE_URL=database_url) as server:
        wait_until_up(server, port)
        journey(f"http://127.0.0.1:{port}")
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{port}/ws/nothing-here/")
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=20) == 0
        output = server.log.read_text()
    assert "Traceback" not in output
    assert "demo-password" in output
    assert f"http://127.0.0.1:{port}/api/docs/" in output


def test_port_in_use_prints_one_line():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = run("serve.py", PORT=str(port))
    assert done.returncode == 1
    assert done.stderr == (
        f"Port {port} of 127.0.0.1 cannot be used (Address already in use). Choose another: make serve PORT=8001\n"
    )


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1"])
def test_invalid_port_is_rejected(port):
    done = run("serve.py", PORT=port)
    assert (done.returncode, done.stderr) == (
        1,
        f"PORT is {port!r}; it takes a number from 1 to 65535: make serve PORT=8001\n",
    )


@pytest.mark.skipif(find_spec("granian") is None, reason="granian is not installed (dependency group server)")
def test_production_serves_wsgi_and_asgi(demo_database_url):
    production = {
        **PRODUCTION,
        "DATABASE_URL": demo_database_url,
        "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
        "DJANGO_SECURE_SSL_REDIRECT": "false",
        "WEBSOCKETS_ENABLED": "true",
    }
    http, sockets = free_port(), free_port()
    wsgi = ["-m", "granian", "--interface", "wsgi", "example_project.wsgi:application", "--port", str(http)]
    asgi = ["-m", "uvicorn", "example_project.asgi:application", "--port", str(sockets)]
    with running(sys.executable, *wsgi, **production) as api, running(sys.executable, *asgi, **production) as realtime:
        wait_until_up(api, http)
        wait_until_up(realtime, sockets)
        assert call("GET", f"http://127.0.0.1:{http}/health/ready")[0] == 200
        journey(f"http://127.0.0.1:{http}")
        assert call("GET", f"http://127.0.0.1:{http}/api/docs/")[0] == 404
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{sockets}/ws/nothing-here/")
        for server in (api, realtime):
            assert "Traceback" not in server.log.read_text()


def test_docs_page_uses_collected_static_files(database_url, tmp_path):
    """The storage for production hashes file names and finds all files of the docs page."""
    script = """
import django; django.setup()
from django.conf import settings
from django.core.management import call_command
from django.test import Client
settings.STATIC_ROOT = %r
call_command("collectstatic", interactive=False, verbosity=0)
page = Client(headers={"host": "api.example.com"}).get("/api/docs/", secure=True).content.decode()
print("redoc.standalone." in page and "redoc.standalone.js" not in page)
"""
    variables = {"DJANGO_SETTINGS_MODULE": "example_project.settings", "DATABASE_URL": database_url}
    done = run("-c", script % str(tmp_path), API_DOCS_ENABLED="true", **PRODUCTION, **variables)
    assert done.stdout == "True\n", done.stderr
