"""The service behind the nginx of ``deploy/nginx.conf``: clients cannot forge their address or scheme."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.composed.conftest import served_database
from tests.composed.processes import PRODUCTION, free_port, manage, run, running, wait_until_up
from tests.composed.servers import NGINX, NGINX_CONFIGURATION, Nginx

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

FORGED = "203.0.113.9"
#: The servers that the README names. uvicorn reads X-Forwarded-For itself unless told not to.
SERVERS = {
    "granian": ["-m", "granian", "--interface", "wsgi", "example_project.wsgi:application", "--port"],
    "uvicorn": ["-m", "uvicorn", "example_project.asgi:application", "--no-proxy-headers", "--port"],
    "uvicorn-default": ["-m", "uvicorn", "example_project.asgi:application", "--port"],
    "runserver": ["manage.py", "runserver", "--noreload"],
}
ADDRESS_SPELLINGS = [
    *(f"{name}: {FORGED}" for name in ("X-Forwarded-For", "X_Forwarded_For", "X-Forwarded_For", "x-FORWARDED-for")),
    *(f"{name}: {FORGED}" for name in ("Clientaddress", "CLIENTADDRESS", "clientAddress", "X-Real-IP", "X_Real_IP")),
    f"X_Forwarded_For: {FORGED}, 127.0.0.1",
    f"Clientaddress: 127.0.0.1, {FORGED}",
    f"Forwarded: for={FORGED}",
]
SCHEME_SPELLINGS = [
    "X-Forwarded-Proto: https",
    "X_Forwarded_Proto: https",
    "X-Forwarded_Proto: https",
    "x-FORWARDED-proto: https",
    "Clientscheme: https",
    "CLIENTSCHEME: https",
    "Forwarded: proto=https",
]
# Once: a context with the certificate authorities of the system takes longer to make than a request.
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE
KEYS = f"""
import django; django.setup()
from dovetail_apikeys.services import create_api_key
from dovetail_tenancy import get_organization_model, unscoped
with unscoped(reason="test"):
    acme = get_organization_model()._default_manager.get(name="Acme")
    for network in ("127.0.0.1", "{FORGED}"):
        key = create_api_key(organization=acme, name="x", scopes=["customers:read"], allowed_networks=[network])
        print("X-API-Key:", key[1])
"""


def send(port: int, *headers: str, tls: bool = True, path: str = "/api/v1/customers") -> tuple[int, dict[str, str]]:
    """Send the header lines as they are, and return the status and headers of the response."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        if tls:
            connection = stack.enter_context(TLS.wrap_socket(connection, server_hostname="api.example.com"))
        lines = [f"GET {path} HTTP/1.1", "Host: api.example.com", "Connection: close", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    status, *fields = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(status.split()[1]), {
        name.lower(): value for name, _, value in (field.partition(": ") for field in fields)
    }


@dataclass(frozen=True)
class Deployment:
    #: The port of the server itself.
    server: int
    shipped: Nginx
    careless: Nginx
    #: The headers with an API key for the client's network, and with one for the network of the forged address.
    own: str
    other: str


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, _demo_template: str) -> Iterator[tuple[str, str, str]]:
    """The URL of a database with demo data and two keys, and the headers with the keys."""
    with served_database(tmp_path_factory.mktemp("keyed"), _demo_template) as url:
        done = run("-c", KEYS, DJANGO_SETTINGS_MODULE="example_project.settings", DATABASE_URL=url, **PRODUCTION)
        assert done.returncode == 0, done.stderr
        # Among the mails about the new keys.
        own, other = re.findall("^X-API-Key: .*", done.stdout, re.MULTILINE)
        yield url, own, other


@pytest.fixture(scope="module", params=SERVERS)
def deployed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, keyed: tuple[str, str, str]
) -> Iterator[Deployment]:
    if request.param == "granian" and find_spec("granian") is None:
        pytest.skip("granian is not installed (dependency group server)")
    folder = tmp_path_factory.mktemp("proxy")
    template, own, other = keyed
    with (
        served_database(folder, template) as url,
        _deployed(request.param, folder, url) as (server, shipped, careless),
    ):
        yield Deployment(server, shipped, careless, own, other)


@contextlib.contextmanager
def _deployed(name: str, folder: Path, database_url: str) -> Iterator[tuple[int, Nginx, Nginx]]:
    production = {
        **PRODUCTION,
        "DATABASE_URL": database_url,
        "TRUSTED_PROXIES": "127.0.0.1",
        "CLIENT_ADDRESS_HEADER": "Clientaddress",
        "CLIENT_SCHEME_HEADER": "Clientscheme",
        "THROTTLE_ANON": "1000/day",
        "THROTTLE_FAILURES": "100000/day",
        "GRANIAN_BLOCKING_THREADS": "2",
    }
    ports: set[int] = set()
    while len(ports) < 7:
        ports.add(free_port())
    server, *others = ports
    with running(sys.executable, *SERVERS[name], str(server), **production) as process:
        wait_until_up(process, server)
        with (
            Nginx(folder / "shipped", api=server, websockets=server, ports=others[:3]) as shipped,
            Nginx(folder / "careless", api=server, websockets=server, ports=others[3:], careless=True) as careless,
        ):
            yield server, shipped, careless


def test_client_cannot_forge_address_or_scheme(deployed: Deployment) -> None:
    server, shipped, careless = deployed.server, deployed.shipped, deployed.careless
    own, other = deployed.own, deployed.other
    # The test can fail: the server believes the headers of its proxy, whose address the test has.
    assert send(server, own, "Clientscheme: https", "Clientaddress: 127.0.0.1", tls=False)[0] == 200
    assert send(server, other, "Clientscheme: https", f"Clientaddress: {FORGED}", tls=False)[0] == 200
    assert send(server, own, "Clientscheme: https", f"Clientaddress: {FORGED}", tls=False)[0] == 401
    # Two values: the proxy did not replace the client's.
    for first, second in ((FORGED, "127.0.0.1"), ("127.0.0.1", FORGED)):
        addresses = (f"Clientaddress: {first}", f"Clientaddress: {second}")
        assert send(server, other, "Clientscheme: https", *addresses, tls=False)[0] == 401
    for schemes in (("https", "http"), ("http", "https")):
        twice = [f"Clientscheme: {scheme}" for scheme in schemes]
        assert send(server, own, "Clientaddress: 127.0.0.1", *twice, tls=False)[0] == 301

    for nginx in (shipped, careless):
        assert send(nginx.https, own)[0] == 200
        assert send(nginx.https, other)[0] == 401
        for spelling in ADDRESS_SPELLINGS:
            for lines in ([spelling], [spelling, spelling], [spelling, f"X-Forwarded-For: {FORGED}"]):
                assert send(nginx.https, other, *lines)[0] == 401, lines
        assert send(nginx.https, own, *ADDRESS_SPELLINGS)[0] == 200
        # The key of the rate limit: every spelling is charged to the same client.
        answers = [send(nginx.https, line, path="/api/auth/jwt/token/")[1] for line in ADDRESS_SPELLINGS]
        remaining = [int(headers["x-ratelimit-remaining"]) for headers in answers]
        assert remaining == list(range(remaining[0], remaining[0] - len(ADDRESS_SPELLINGS), -1))

    for spelling in SCHEME_SPELLINGS:
        for lines in ([spelling], ["X-Forwarded-Proto: https", spelling, spelling]):
            assert send(shipped.redirect, own, *lines, tls=False)[0] == 301
            status, headers = send(careless.http, own, *lines, tls=False)
            assert (status, headers["location"]) == (301, "https://api.example.com/api/v1/customers"), lines


def stalled(port: int) -> socket.socket:
    """Return a connection that has sent a part of its body."""
    connection = TLS.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=20))
    head = "POST /api/auth/jwt/token/ HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\n"
    connection.sendall(f'{head}Content-Length: 1000\r\n\r\n{{"email"'.encode())
    return connection


def test_stalled_bodies_do_not_occupy_the_service(deployed: Deployment) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(stalled(deployed.shipped.https))
        begun = time.monotonic()
        assert send(deployed.shipped.https, deployed.own)[0] == 200
        # After client_body_timeout, 10 seconds, nginx closes the stalled connections, and any service responds.
        assert time.monotonic() - begun < 6


def test_production_variables_pass_the_deployment_check(database_url: str) -> None:
    text = (NGINX_CONFIGURATION.parent / "production.env").read_text()
    shipped = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert shipped["GRANIAN_BLOCKING_THREADS"] == "8"
    variables = {**PRODUCTION, **shipped, "DATABASE_URL": database_url, "REDIS_URL": "redis://127.0.0.1:1/0"}
    variables |= {"EMAIL_PROVIDER": "smtp", "EMAIL_HOST": "localhost", "DEFAULT_FROM_EMAIL": "a@example.com"}
    done = manage("check", "--deploy", "--fail-level", "WARNING", **variables)
    assert done.returncode == 0, done.stderr
    variables |= {"SERVER_PROCESSES": "6", "CLIENT_ADDRESS_HEADER": "X-Forwarded-For"}
    done = manage("check", "--deploy", "--fail-level", "WARNING", **variables)
    assert "(dovetail_core.W005) DOVETAIL_CLIENT_ADDRESS_HEADER trusts the header X-Forwarded-For" in done.stderr
    # A limit of 5 sign-in mails a minute has no share for each of 6 processes.
    assert "(dovetail_contract.W006)" in done.stderr
    assert "'magic'" in done.stderr
