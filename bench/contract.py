"""Measure the cost of the contract as ratios to plain REST framework, by CPU time and by wall-clock time.

    python bench/contract.py [redis://127.0.0.1:6379/6] [postgres://postgres@127.0.0.1:5432/contract_bench]

One process; rounds are interleaved. Without Redis, limits are counted in memory and not compared. Without PostgreSQL,
lists use SQLite, and pages are not measured. If django-redis is installed, REST framework's throttle is measured on it
as well.
"""

from __future__ import annotations

import json
import os
import socket
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
ROOT_URLCONF = "__main__"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "rest_framework", "dovetail_contract"]
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
CONTRACT_RATE_LIMITS = {"anon": "100000/hour"}
CONTRACT_RATE_LIMIT_STORE = store
CONTRACT_RATE_LIMIT_LOCATION = REDIS
django.setup()

from django.core.cache import caches  # noqa: E402
from django.core.handlers.base import BaseHandler  # noqa: E402
from django.db import connections, models  # noqa: E402
from django.test import RequestFactory, override_settings  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import generics, pagination, serializers, throttling  # noqa: E402
from rest_framework.renderers import JSONRenderer  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from dovetail_contract.filters import FilterBackend  # noqa: E402
from dovetail_contract.pagination import CursorPagination  # noqa: E402
from dovetail_contract.problems import exception_handler  # noqa: E402
from dovetail_contract.throttling import RateLimitThrottle  # noqa: E402
from dovetail_contract.throttling.limiter import limiter  # noqa: E402


class Row(models.Model):  # noqa: DJ008  # never shown
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=50)
    created_at = models.DateTimeField()

    class Meta:
        app_label = "bench"
        indexes = [models.Index(fields=["created_at", "id"], name="bench_row_created")]


class RowSerializer(serializers.ModelSerializer[Row]):
    class Meta:
        model = Row
        fields = ["id", "name", "created_at"]


TWENTY = [{"id": number, "name": f"row {number}", "created_at": "2026-11-24T00:00:00Z"} for number in range(20)]


class Bare(APIView):
    authentication_classes = ()
    permission_classes = ()
    renderer_classes = (JSONRenderer,)

    def get(self, request: Any) -> Response:
        return Response(TWENTY)


class Limited(Bare):
    throttle_classes = (RateLimitThrottle,)


class RoundTrip(throttling.BaseThrottle):
    """The minimum cost of a throttle in Redis: a request of six bytes, and a response that is not parsed."""

    def allow_request(self, request: Any, view: Any) -> bool:
        wire.sendall(b"PING\r\n")
        return bool(wire.recv(64))


class RoundTripped(Bare):
    throttle_classes = (RoundTrip,)


def stock(rate: str, store: str) -> type[Bare]:
    class Throttle(throttling.AnonRateThrottle):
        cache = caches[store]
        scope = f"{rate}-{store}"  # a history for each
        THROTTLE_RATES = {scope: rate}

        def throttle_success(self) -> bool:
            # Held at one request below the limit: what a client that uses its limit costs.
            self.history = [self.now - 1] * (self.num_requests - 2)
            return bool(super().throttle_success())

    return type("Stock", (Bare,), {"throttle_classes": (Throttle,)})


def rows(database: str) -> Any:
    return Row.objects.using(database)


class Listed(generics.ListAPIView[Row]):
    authentication_classes = ()
    permission_classes = ()
    renderer_classes = (JSONRenderer,)
    serializer_class = RowSerializer
    pagination_class = None
    filter_backends = ()

    def get_queryset(self) -> Any:
        return rows(self.kwargs["database"]).order_by("created_at")


class BareList(Listed):
    def get_queryset(self) -> Any:
        return super().get_queryset()[:20]


class PagedList(Listed):
    pagination_class = CursorPagination


class FilteredList(BareList):
    contract = {"filter": {"name": ["eq"]}, "sort": ["created_at"]}
    filter_backends = (FilterBackend,)


class FullList(PagedList):
    contract = FilteredList.contract
    filter_backends = (FilterBackend,)
    throttle_classes = (RateLimitThrottle,)

    def get_exception_handler(self) -> Any:
        return exception_handler


class PageNumbers(pagination.PageNumberPagination):
    page_size = 50


class StockCursor(pagination.CursorPagination):
    page_size = 50
    ordering = ("created_at", "id")


urlpatterns = [
    path("api/bare", Bare.as_view()),
    path("api/limited", Limited.as_view()),
    path("api/roundtrip", RoundTripped.as_view()),
    path("api/<database>/list", BareList.as_view()),
    path("api/<database>/paged", PagedList.as_view()),
    path("api/<database>/filtered", FilteredList.as_view()),
    path("api/<database>/full", FullList.as_view()),
    path("api/<database>/numbers", type("N", (Listed,), {"pagination_class": PageNumbers}).as_view()),
    path("api/<database>/stockcursor", type("S", (Listed,), {"pagination_class": StockCursor}).as_view()),
    path("api/<database>/cursor", type("C", (Listed,), {"pagination_class": CursorPagination}).as_view()),
]
RATES = {"60/min": "stock60", "10000/hour": "stock10000"}
for store_name in CACHES:
    for rate, name in RATES.items():
        urlpatterns.append(path(f"api/{name}/{store_name}", stock(rate, store_name).as_view()))
if REDIS:
    wire = socket.create_connection((urlsplit(REDIS).hostname or "localhost", urlsplit(REDIS).port or 6379))
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
MIDDLEWARE = [
    f"dovetail_contract.middleware.{name}Middleware"
    for name in ("RequestID", "Problem", "RateLimit", "Deprecation", "UTC", "Idempotency")
]
PLAIN = ["django.middleware.common.CommonMiddleware"]


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

    def of(self, other: Cost) -> str:
        return f"{self.cpu / other.cpu:.2f} (clock: {self.wall / other.wall:.2f})"

    def __str__(self) -> str:
        return f"{self.cpu:8.0f} µs {self.wall:8.0f} µs"


def measured(variants: dict[str, Callable[[], Any]], rounds: int, calls: int) -> dict[str, Cost]:
    """Return the minimum of each over interleaved rounds."""
    least = dict.fromkeys(variants, Cost(float("inf"), float("inf")))
    for call in variants.values():
        call()
    for _ in range(rounds):
        for name, call in variants.items():
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(calls):
                call()
            taken = Cost(time.process_time() - cpu, time.perf_counter() - wall)
            least[name] = Cost(*(min(old, new / calls * 1e6) for old, new in zip(least[name], taken, strict=True)))
    return least


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
    found = measured(variants, rounds=25, calls=50)
    print(f"{'':<28} {'CPU':>8}    {'clock':>8}")
    for name, value in found.items():
        print(f"{name:<28} {value}")
    bare = found["bare view"]
    print(f"everything on, view of 20 rows: {found['everything, view'].of(bare)} of the bare view")
    for database in DATABASES:
        ratio = found[f"everything, {database}"].of(found[f"list, {database}"])
        print(f"everything on, list of 20, {database}: {ratio} of the bare list")
    for name, theirs in found.items():
        if name.startswith("stock"):
            print(f"limited, against {name}: {(found['limited'] - bare).of(theirs - bare)} of what it adds")


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
        with connections[database].schema_editor() as editor:
            editor.create_model(Row)
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
        costs()
        if POSTGRES:
            pages()
    finally:
        caches["default"].clear()
        connections.close_all()
        if REDIS:
            wire.close()
        administer("DROP DATABASE {}")


if __name__ == "__main__":
    main()
