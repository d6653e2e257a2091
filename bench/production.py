"""Put the shipped production configuration under load while its services fail, and print the responses to clients.

    python bench/production.py                      # 200 clients for 60 seconds
    python bench/production.py --clients 20 --seconds 30

nginx and Granian run as in ``deploy/``, on free ports, with one Celery worker process and two Redis servers, and
without uvicorn and beat. Needs nginx, redis-server, and PostgreSQL (``POSTGRES_SERVER``, default
``postgres://postgres@127.0.0.1:5432``), where it creates a database and roles of its own. Clients read and write; a
write has an idempotency key and is repeated until it is acknowledged. Meanwhile, PostgreSQL terminates the connections
of the service, and Redis and the broker are stopped, hung and started again.

The exit status is 1 if a response was 500, if an acknowledged write is missing or present twice, or if the service did
not recover.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import ssl
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "example_project")]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.composed.settings")

import psycopg  # noqa: E402

from tests.composed.processes import PRODUCTION, free_port, run, running, wait_until_up  # noqa: E402
from tests.composed.servers import Nginx, Redis  # noqa: E402
from tests.roles import create_roles, drop_roles  # noqa: E402

POSTGRES = os.environ.get("POSTGRES_SERVER", "postgres://postgres@127.0.0.1:5432")
#: Parts of the run, when each fault begins. A part lasts until the next.
PARTS = {
    "healthy": 0.0,
    "PostgreSQL terminates connections": 0.12,
    "Redis hangs": 0.22,
    "Redis answers again": 0.29,
    "Redis is killed": 0.38,
    "Redis is started": 0.45,
    "broker hangs": 0.53,
    "broker answers again": 0.6,
    "broker is killed": 0.68,
    "broker is started": 0.75,
    "PostgreSQL terminates connections again": 0.8,
    "recovered": 0.86,
}


def production_variables() -> dict[str, str]:
    """Return the variables of ``deploy/production.env``."""
    lines = (ROOT / "deploy/production.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@dataclass
class Log:
    #: Part, status (0: no response), seconds.
    answers: list[tuple[str, int, float]] = field(default_factory=list)
    part: str = "healthy"
    acknowledged: Counter[str] = field(default_factory=Counter)
    attempted: set[str] = field(default_factory=set)


class Client:
    """One client with one connection, which it opens again when it breaks."""

    def __init__(self, port: int, account: tuple[dict[str, str], str], log: Log) -> None:
        self.port, self.log = port, log
        self.headers, self.customer = account
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def run(self, until: float, context: ssl.SSLContext) -> None:
        while time.monotonic() < until:
            if random.random() < 0.6:
                await self.send(context, "GET", "/api/v1/customers?limit=10")
            else:
                await self.write(context, until)
        self.close()

    async def write(self, context: ssl.SSLContext, until: float) -> None:
        name = f"write-{uuid4().hex[:20]}"
        self.log.attempted.add(name)
        if random.random() < 0.8:
            path, body = "/api/v1/customers", {"name": name, "email": "load@example.com"}
        else:
            # A paid invoice notifies, so it needs the broker.
            line = {"description": "Load", "quantity": "1", "unit_price": "1.00"}
            dates = {"issued_on": "2026-11-01", "due_on": "2026-12-01"}
            path, body = (
                "/api/v1/invoices",
                {"number": name, "customer": self.customer, "status": "paid", "lines": [line], **dates},
            )
        key = {"Idempotency-Key": uuid4().hex}
        # The end of the run does not end a write: it must be known whether it happened.
        while time.monotonic() < until + 20:
            status = await self.send(context, "POST", path, body, key)
            if status == 201:
                self.log.acknowledged[name] += 1
                return
            if 400 <= status < 500 and status not in (409, 429):
                raise AssertionError(f"{path} answered {status}")
            await asyncio.sleep(0.5)

    async def send(
        self, context: ssl.SSLContext, method: str, path: str, body: Any = None, more: dict[str, str] | None = None
    ) -> int:
        begun, part = time.monotonic(), self.log.part
        status = 0
        with suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(70):
                status = await self._send(context, method, path, body, more or {})
        if not status:
            self.close()
            await asyncio.sleep(0.2)
        self.log.answers.append((part, status, time.monotonic() - begun))
        return status

    async def _send(self, context: ssl.SSLContext, method: str, path: str, body: Any, more: dict[str, str]) -> int:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=context, server_hostname="api.example.com"
            )
        assert self.reader is not None
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"Host": "api.example.com", "Content-Length": str(len(content)), **self.headers, **more}
        if content:
            headers["Content-Type"] = "application/json"
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content)
        answer = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(line.split(": ", 1) for line in answer.split("\r\n")[1:] if ": " in line)
        await self.reader.readexactly(int(fields["content-length"]))
        if fields.get("connection") == "close":
            self.close()
        return int(answer.split()[1])

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


@dataclass
class Service:
    https: int
    redis: Redis
    broker: Redis
    database: str
    role: str
    #: The process ids of the servers, which must be the same at the end.
    api: Any


@contextmanager
def database() -> Iterator[tuple[str, str, str]]:
    """Yield the URL of an empty database, its role, and the role that sees all rows."""
    url = urlsplit(POSTGRES)
    name = f"production_{uuid4().hex[:8]}"
    server = {"HOST": url.hostname, "PORT": url.port, "USER": url.username, "PASSWORD": url.password or ""}
    create_roles(server, login=name, bypass=f"{name}_bypass")
    password = f":{url.password}" if url.password else ""
    own = urlunsplit(url._replace(netloc=f"{name}{password}@{url.hostname}:{url.port or 5432}", path=f"/{name}"))
    with (
        psycopg.connect(urlunsplit(url._replace(scheme="postgresql", path="/postgres")), autocommit=True) as admin,
        ExitStack() as stack,
    ):
        stack.callback(drop_roles, server, name, f"{name}_bypass_may", f"{name}_bypass")
        admin.execute(f"CREATE DATABASE {name} OWNER {name}")
        stack.callback(admin.execute, f"DROP DATABASE {name} WITH (FORCE)")
        yield own, name, f"{name}_bypass"


@contextmanager
def service(folder: Path) -> Iterator[Service]:
    with ExitStack() as stack:
        url, role, bypass = stack.enter_context(database())
        servers = []
        for name in ("redis", "broker"):
            (folder / name).mkdir()
            servers.append(Redis(folder / name, free_port()))
            servers[-1].start()
            stack.callback(servers[-1].stop)
        redis, broker = servers
        variables = {
            **PRODUCTION,
            **production_variables(),
            "GRANIAN_PORT": str(free_port()),
            "DATABASE_URL": url,
            "DATABASE_BYPASS_ROLE": bypass,
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            "CELERY_BROKER_URL": f"redis://127.0.0.1:{broker.port}/0",
            # All clients have three accounts.
            "THROTTLE_USER": "10000000/min",
            "THROTTLE_ANON": "10000000/min",
        }
        code = (
            "from django.core.management import call_command as call; call('migrate', verbosity=0); call('seed_demo')"
        )
        development = {"DJANGO_DEBUG": "true", "DJANGO_SETTINGS_MODULE": "example_project.settings"}
        seed = {**development, "DATABASE_URL": url, "DATABASE_BYPASS_ROLE": bypass}
        done = run("-c", f"import django; django.setup(); {code}", **seed)
        assert done.returncode == 0, done.stderr
        api = stack.enter_context(
            running(sys.executable, "-m", "granian", "example_project.wsgi:application", **variables)
        )
        stack.enter_context(
            running(sys.executable, "-m", "celery", "-A", "example_project", "worker", "-c", "1", **variables)
        )
        port = int(variables["GRANIAN_PORT"])
        wait_until_up(api, port, "/health/ready")
        ports = [free_port() for _ in range(3)]
        nginx = stack.enter_context(Nginx(folder / "nginx", api=port, websockets=port, ports=ports))
        yield Service(nginx.https, redis, broker, url, role, api)


def faults(service: Service, admin: psycopg.Connection[Any], part: str) -> None:
    if part.startswith("PostgreSQL"):
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [service.role])
        return
    server = service.broker if part.startswith("broker") else service.redis
    if part.endswith("hangs"):
        os.kill(server.process.pid, signal.SIGSTOP)  # type: ignore[union-attr]
    elif part.endswith("answers again"):
        os.kill(server.process.pid, signal.SIGCONT)  # type: ignore[union-attr]
    elif part.endswith("killed"):
        server.stop()
    elif part.endswith("started"):
        server.start()


async def load(service: Service, clients: int, seconds: float) -> Log:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    log = Log()
    accounts = [
        (await sign_in(service, context, email), customer_of(service, organization))
        for email, organization in (("ada@example.com", "Acme"), ("linus@example.com", "Globex"))
    ]
    begun = time.monotonic()
    tasks = [
        asyncio.create_task(Client(service.https, random.choice(accounts), log).run(begun + seconds, context))
        for _ in range(clients)
    ]
    url = urlunsplit(urlsplit(POSTGRES)._replace(scheme="postgresql", path="/postgres"))
    with psycopg.connect(url, autocommit=True) as admin:
        for part, share in PARTS.items():
            await asyncio.sleep(max(0, begun + share * seconds - time.monotonic()))
            await asyncio.to_thread(faults, service, admin, part)
            log.part = part
    await asyncio.gather(*tasks)
    return log


async def sign_in(service: Service, context: ssl.SSLContext, email: str) -> dict[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.https, ssl=context)
    content = json.dumps({"email": email, "password": "demo-password"}).encode()
    head = "POST /api/auth/jwt/token/ HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
    answer = await reader.read()
    writer.close()
    pair = json.loads(answer.partition(b"\r\n\r\n")[2])
    return {"Authorization": f"Bearer {pair['access']}"}


def select(service: Service, sql: str, *parameters: str) -> list[str]:
    """Return the first column, as a role that sees all rows."""
    url = urlunsplit(urlsplit(POSTGRES)._replace(scheme="postgresql", path=f"/{service.role}"))
    with psycopg.connect(url) as admin:
        return [str(row[0]) for row in admin.execute(sql, parameters)]


def customer_of(service: Service, organization: str) -> str:
    join = "billing_customer c JOIN dovetail_tenancy_organization o ON o.id = c.organization_id"
    return select(service, f"SELECT c.id FROM {join} WHERE o.name = %s LIMIT 1", organization)[0]


def written(service: Service) -> Counter[str]:
    """Return how often each write is in the database."""
    customers = "SELECT name FROM billing_customer WHERE name LIKE %s"
    invoices = "SELECT number FROM billing_invoice WHERE number LIKE %s"
    return Counter(select(service, f"{customers} UNION ALL {invoices}", "write-%", "write-%"))


def report(log: Log, rows: Counter[str], seconds: float, failed_logs: int) -> bool:
    ends = [*list(PARTS.values())[1:], 1.0]
    columns = ["2xx", "4xx", "500", "502-504", "none", "p50 ms", "p99 ms"]
    print(f"{'part':<42}{'seconds':>8}{'answers/s':>10}" + "".join(f"{column:>8}" for column in columns))
    rates = {}
    for (part, begin), end in zip(PARTS.items(), ends, strict=True):
        answers = [(status, took) for name, status, took in log.answers if name == part]
        times = sorted(took * 1000 for _, took in answers) or [0.0]
        counts = Counter(status for status, _ in answers)
        rates[part] = counts.total() / ((end - begin) * seconds)
        groups = [
            sum(number for status, number in counts.items() if low <= status < high)
            for low, high in ((200, 300), (400, 500), (500, 501), (501, 600), (0, 1))
        ]
        print(
            f"{part:<42}{(end - begin) * seconds:>8.1f}{rates[part]:>10.0f}{groups[0]:>8}{groups[1]:>8}{groups[2]:>8}"
            f"{groups[3]:>8}{groups[4]:>8}{statistics.median(times):>8.0f}{times[int(len(times) * 0.99) - 1]:>8.0f}"
        )
    statuses = Counter(status for _, status, _ in log.answers)
    print("\nstatuses:", dict(sorted(statuses.items())))
    missing = [name for name in log.acknowledged if rows[name] != 1]
    twice = [name for name in rows if rows[name] > 1]
    unacknowledged = len(log.attempted) - len(log.acknowledged)
    print(f"writes: {len(log.attempted)} attempted, {len(log.acknowledged)} acknowledged, {unacknowledged} not")
    print(f"acknowledged writes that are missing: {len(missing)}; writes that are present twice: {len(twice)}")
    recovered = rates["recovered"] > rates["healthy"] / 2
    print(f"recovered without a restart: {'yes' if recovered and not failed_logs else 'no'}")
    return not statuses[500] and not missing and not twice and recovered and not failed_logs


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--errors", action="store_true", help="print errors from the log of the API")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as running_service:
        log = asyncio.run(load(running_service, arguments.clients, arguments.seconds))
        output = running_service.api.log.read_text()
        ended = running_service.api.poll() is not None or "Unexpected exit" in output
        errors = Counter(line[:300] for line in output.splitlines() if '"ERROR"' in line)
        good = report(log, written(running_service), arguments.seconds, ended)
        if arguments.errors:
            for line, number in errors.most_common(12):
                print(number, line)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
