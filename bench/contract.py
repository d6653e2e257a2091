"""Measure the cost of the contract as ratios to plain REST framework, by CPU time and by wall-clock time.

    python bench/contract.py [redis://127.0.0.1:6379/6] [postgres://postgres@127.0.0.1:5432/contract_bench]

A list without authentication shows what the contract adds at most. A request of a signed-in person in an organization
shows it as projects use it: with the authentication of dovetail-identity and the organizations of dovetail-tenancy, and
compared with the same request by plain REST framework (simplejwt, a query for the membership, and a filter by hand).

One process; rounds are interleaved. Each value is the fastest round of a block of rounds, and the ratios are medians
of three blocks. Without Redis, limits are counted in memory and not compared. Without PostgreSQL,
lists use SQLite, and pages are not measured. If django-redis is installed, REST framework's throttle is measured on it
as well.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import django

REDIS = next((each for each in sys.argv[1:] if each.startswith("redis:")), "")
POSTGRES = next((each for each in sys.argv[1:] if each.startswith("postgres:")), "")
ROWS = 1_000_000
URL = urlsplit(POSTGRES or "postgres://postgres@127.0.0.1:5432/x")


def store() -> Any:
    """A store with a long timeout. On a busy machine, 50 ms as in production would sometimes measure the fallback."""
    from dovetail_contract.contrib.redis import RedisStore
    from dovetail_contract.throttling.stores import MemoryStore

    return RedisStore(REDIS, timeout=20) if REDIS else MemoryStore()


# This file is its own settings module, as a project has one: what ``settings.configure()`` makes is slower to read.
os.environ["DJANGO_SETTINGS_MODULE"] = "__main__"
SECRET_KEY = "bench " * 10
ALLOWED_HOSTS = ["*"]
USE_TZ = True
DEBUG_PROPAGATE_EXCEPTIONS = True
ROOT_URLCONF = "_contract_views"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "dovetail_contract",
    "dovetail_identity",
    "dovetail_tenancy",
]
AUTH_USER_MODEL = "dovetail_identity.User"


class Router:
    """Send all queries to one database, also those of packages."""

    alias = "default"

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return Router.alias

    db_for_write = db_for_read


DATABASE_ROUTERS = [Router()]
DATABASES: dict[str, Any] = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
if POSTGRES:
    DATABASES["postgresql"] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": URL.path.lstrip("/"),
        "USER": URL.username or "",
        "HOST": URL.hostname or "",
        "PORT": URL.port or "",
    }
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
if REDIS:
    CACHES["default"] = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS}
    if find_spec("django_redis"):
        CACHES["django-redis"] = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS}
CONTRACT_RATE_LIMITS = {"anon": "100000/hour", "user": "100000/hour"}
CONTRACT_RATE_LIMIT_STORE = store
CONTRACT_RATE_LIMIT_LOCATION = REDIS
django.setup()

from _contract_views import RATES, TWENTY, Row, TenantRow, rows, wire  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.cache import caches  # noqa: E402
from django.core.handlers.base import BaseHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.test import RequestFactory, override_settings  # noqa: E402
from rest_framework.request import Request  # noqa: E402

from dovetail_contract.pagination import CursorPagination  # noqa: E402
from dovetail_contract.throttling.limiter import limiter  # noqa: E402
from dovetail_identity.services import issue_tokens  # noqa: E402
from dovetail_tenancy import tenant  # noqa: E402
from dovetail_tenancy.services import create_organization  # noqa: E402

MIDDLEWARE = [
    f"dovetail_contract.middleware.{name}Middleware"
    for name in ("RequestID", "Problem", "RateLimit", "Deprecation", "UTC", "Idempotency")
]
PLAIN = ["django.middleware.common.CommonMiddleware"]
TENANT = ["dovetail_tenancy.middleware.TenantMiddleware"]


def handler(middleware: list[str]) -> Callable[..., Any]:
    with override_settings(MIDDLEWARE=middleware):
        made = BaseHandler()
        made.load_middleware()
    factory = RequestFactory()

    def get(url: str, **environ: str) -> Any:
        answer = made.get_response(factory.get(url, **environ))  # type: ignore[arg-type]  # the environment's own names
        assert answer.status_code == 200, answer.content
        return answer

    return get


class Cost(NamedTuple):
    """Microseconds per call: CPU time of this process, and wall-clock time."""

    cpu: float
    wall: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.cpu - other.cpu, self.wall - other.wall)

    def __str__(self) -> str:
        return f"{self.cpu:8.0f} µs {self.wall:8.0f} µs"


def measured(variants: dict[str, Callable[[], Any]], rounds: int, calls: int) -> dict[str, list[Cost]]:
    """Return the minimum of each over the interleaved rounds of three blocks."""
    for call in variants.values():
        call()
    least: dict[str, list[Cost]] = {name: [] for name in variants}
    for _ in range(3):
        for costs in least.values():
            costs.append(Cost(float("inf"), float("inf")))
        for _ in range(rounds):
            for name, call in variants.items():
                cpu, wall = time.process_time(), time.perf_counter()
                for _ in range(calls):
                    call()
                taken = (time.process_time() - cpu, time.perf_counter() - wall)
                costs = least[name]
                costs[-1] = Cost(*(min(old, new / calls * 1e6) for old, new in zip(costs[-1], taken, strict=True)))
    return least


def median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


def ratio(costs: list[Cost], others: list[Cost], base: list[Cost] | None = None) -> str:
    """Format the medians of the ratios of the blocks. With ``base``, the ratios of what they add to it."""
    nothing = [Cost(0, 0)] * len(costs)
    ratios = []
    for cost, other, bare in zip(costs, others, base or nothing, strict=True):
        mine, theirs = cost - bare, other - bare
        ratios.append(Cost(mine.cpu / theirs.cpu, mine.wall / theirs.wall))
    cpu, wall = median(ratios)
    return f"{cpu:.2f} (clock: {wall:.2f})"


def of_organization(database: str) -> Callable[[Callable[..., Any], str], Any]:
    """Create an organization with 20 rows and a member, and return a function that requests a list as this member."""
    Router.alias = database
    owner = get_user_model()._default_manager.create(email="ada@example.com")
    organization = create_organization(name="Acme", owner=owner)
    with tenant(organization):
        TenantRow.objects.bulk_create(TenantRow(**{**row, "id": None}, organization=organization) for row in TWENTY)
    headers = {
        "HTTP_AUTHORIZATION": f"Bearer {issue_tokens(owner, request=None)['access']}",
        "HTTP_X_ORGANIZATION_ID": str(organization.pk),
    }
    Router.alias = "default"

    def get(handle: Callable[..., Any], name: str) -> Any:
        Router.alias = database
        try:
            return handle(f"/api/{database}/{name}", **headers)
        finally:
            Router.alias = "default"

    return get


def table(found: dict[str, list[Cost]]) -> dict[str, list[Cost]]:
    print(f"\n{'':<32} {'CPU':>8}    {'clock':>8}")
    for name, values in found.items():
        print(f"{name:<32} {median(values)}")
    return found


def costs_of_organizations() -> None:
    """Compare a request of a signed-in person in an organization."""
    plain, tenancy = handler(PLAIN), handler([*PLAIN, *TENANT])
    everything = handler([*MIDDLEWARE[:2], *PLAIN, *TENANT, *MIDDLEWARE[2:]])
    variants: dict[str, Callable[[], Any]] = {}
    for database in DATABASES:
        get = of_organization(database)
        variants[f"by hand, {database}"] = partial(get, plain, "organization-by-hand")
        variants[f"identity, tenancy, {database}"] = partial(get, tenancy, "organization")
        variants[f"and contract, {database}"] = partial(get, everything, "organization-full?limit=20")
    found = table(measured(variants, rounds=25, calls=20))
    for database in DATABASES:
        costs, title = found[f"and contract, {database}"], f"list of 20 of a member of an organization, {database}"
        alone, by_hand = found[f"identity, tenancy, {database}"], found[f"by hand, {database}"]
        print(f"{title}: identity, tenancy and contract, compared with the first two: {ratio(costs, alone)}")
        print(f"{title}: identity, tenancy and contract, compared with REST framework by hand: {ratio(costs, by_hand)}")


def costs() -> None:
    plain, full = handler(PLAIN), handler([*MIDDLEWARE[:2], *PLAIN, *MIDDLEWARE[2:]])
    clients = (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}" for number in count())
    variants: dict[str, Callable[[], Any]] = {
        "bare view": lambda: plain("/api/bare"),
        "limited": lambda: plain("/api/limited"),
        "limited, first time": lambda: plain("/api/limited", REMOTE_ADDR=next(clients)),
        "middlewares": lambda: full("/api/bare"),
        "everything, view": lambda: full("/api/limited"),
    }
    for each in MIDDLEWARE:
        variants[each.rpartition(".")[2]] = partial(handler([*PLAIN, each]), "/api/bare")
    for database in DATABASES:
        for name in ("list", "filtered", "paged?limit=20"):
            variants[f"{name.partition('?')[0]}, {database}"] = partial(plain, f"/api/{database}/{name}")
        variants[f"everything, {database}"] = partial(full, f"/api/{database}/full?limit=20")
    if REDIS:
        variants["one round trip"] = lambda: plain("/api/roundtrip")
        for rate, name in RATES.items():
            for cache in CACHES:
                variants[f"stock {rate}, {cache}"] = partial(plain, f"/api/{name}/{cache}")
    found = table(measured(variants, rounds=6, calls=50))
    for database in DATABASES:
        bare = ratio(found[f"everything, {database}"], found[f"list, {database}"])
        print(f"list of 20 without authentication, {database}: with everything on, compared with the bare list: {bare}")
    bare_view = found["bare view"]
    bare = ratio(found["everything, view"], bare_view)
    print(f"view of 20 rows without authentication: with everything on, compared with the bare view: {bare}")
    for name, theirs in found.items():
        if name.startswith("stock"):
            print(f"what a limit adds, compared with {name}: {ratio(found['limited'], theirs, bare_view)}")


def pages() -> None:
    get = handler(PLAIN)
    first = get("/api/postgresql/cursor").data["meta"]["next"]
    deep = _cursor_at(get, ROWS - 100)
    middle = _cursor_at(get, ROWS // 2)
    stock_deep = _stock_cursor_at()
    last = ROWS // 50
    variants = {
        "page numbers, 1": "/api/postgresql/numbers?page=1",
        f"page numbers, {last}": f"/api/postgresql/numbers?page={last}",
        "stock cursor, 1": "/api/postgresql/stockcursor",
        f"stock cursor, {last}": f"/api/postgresql/stockcursor?cursor={stock_deep}",
        "cursor, 1": "/api/postgresql/cursor",
        "cursor, 2": f"/api/postgresql/cursor?cursor={first}",
        f"cursor, {last // 2}": f"/api/postgresql/cursor?cursor={middle}",
        f"cursor, {last}": f"/api/postgresql/cursor?cursor={deep}",
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(7):
        for name, url in variants.items():
            begun = time.perf_counter()
            get(url)
            times[name].append((time.perf_counter() - begun) * 1000)
    for name, taken in times.items():
        print(f"{name:<24} {statistics.median(taken):8.1f} ms")
    print(f"buffers at row {ROWS // 2}: {_buffers(ROWS // 2)}")


def _cursor(row: int) -> Any:
    from dovetail_core.rest.pagination import Cursor

    found = rows("postgresql").order_by("created_at", "id")[row]
    return Cursor((found.created_at, found.pk))


def _cursor_at(get: Any, row: int) -> str:
    from dovetail_contract.pagination import keyset

    paginator = CursorPagination()
    paginator.request = Request(RequestFactory().get("/api/postgresql/cursor"))
    _, paginator.order = keyset.keys(rows("postgresql").order_by("created_at"))
    return paginator.encode(_cursor(row))


def _stock_cursor_at() -> str:
    from base64 import b64encode
    from urllib.parse import quote

    found = rows("postgresql").order_by("created_at", "id")[ROWS - 100]
    return quote(b64encode(f"p={quote(str(found.created_at))}".encode()).decode())


def _buffers(row: int) -> int:
    from dovetail_contract.pagination import keyset

    queryset, order = keyset.keys(rows("postgresql").order_by("created_at"))
    condition = next(keyset._ranges(order, _cursor(row)))
    ordered = queryset.filter(*condition).order_by(*(key.order(backward=False) for key in order))[:51]
    plan = json.loads(ordered.explain(format="json", analyze=True, buffers=True))[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def prepare() -> None:
    for database in DATABASES:
        Router.alias = database
        call_command("migrate", database=database, verbosity=0)
        Router.alias = "default"
        with connections[database].schema_editor() as editor:
            editor.create_model(Row)
            editor.create_model(TenantRow)
        with connections[database].cursor() as cursor:
            if database == "postgresql":
                cursor.execute(
                    "INSERT INTO bench_row (name, created_at) SELECT 'row ' || n, "
                    "timestamptz '2026-01-01' + (n / 7) * interval '1 second' FROM generate_series(1, %s) n",
                    [ROWS],
                )
                cursor.execute("ANALYZE bench_row")
            else:
                now = "2026-11-24 00:00:00"
                cursor.executemany("INSERT INTO bench_row (name, created_at) VALUES (%s, %s)", [["x", now]] * 100)


def administer(*statements: str) -> None:
    if POSTGRES:
        with connections["postgresql"]._nodb_cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.format(URL.path.lstrip("/")))


def main() -> None:
    caches["default"].clear()
    limiter()
    administer("DROP DATABASE IF EXISTS {}", "CREATE DATABASE {}")
    try:
        prepare()
        costs_of_organizations()
        costs()
        if POSTGRES:
            pages()
    finally:
        caches["default"].clear()
        connections.close_all()
        if wire:
            wire.close()
        administer("DROP DATABASE {}")


if __name__ == "__main__":
    main()
