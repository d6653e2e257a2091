"""Measure the cost of authentication by API key beside other libraries, and the cost of recording its use.

    pip install djangorestframework-api-key django-rest-knox djangorestframework-simplejwt
    python bench/apikeys.py                                            # SQLite in a file
    DATABASE_URL=postgres://… python bench/apikeys.py                  # creates and drops test_<name>
    python bench/apikeys.py --keys 100000                              # instead of 1 and 1 000 000
    python bench/apikeys.py --prepared                                 # PostgreSQL prepares repeated statements

One process and one connection. Each call is a whole request up to the rendered response. Rounds are interleaved, so
that other load on the machine affects all libraries equally. "Added" is the difference to the same view without
authentication: of the fastest calls, and as the median of the differences within a round. Ratios are relative to
djangorestframework-api-key's HasAPIKey. On a busy machine, the fastest call shows the cost, and the median includes
waiting.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "packages/apikeys/src"), str(ROOT / "packages/core/src")]

import django  # noqa: E402
from django.conf import settings  # noqa: E402

from tests.databases import databases  # noqa: E402

FILE = Path(tempfile.mkdtemp()) / "bench.sqlite3"
os.environ.setdefault("DATABASE_URL", f"sqlite:///{FILE}")
DATABASES = databases()
DATABASES["default"] |= {"ATOMIC_REQUESTS": True, "CONN_MAX_AGE": None}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": str(FILE)}
    DATABASES["default"]["OPTIONS"] = {"timeout": 30, "init_command": "PRAGMA journal_mode=WAL"}
elif "--prepared" in sys.argv:
    DATABASES["default"]["OPTIONS"] = {"server_side_binding": True, "prepare_threshold": 2}

settings.configure(
    SECRET_KEY="a-key-for-measuring-only-of-32-characters",
    DATABASES=DATABASES,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "rest_framework_api_key",
        "knox",
        "dovetail_apikeys",
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    API_KEYS_ORGANIZATION_MODEL="auth.Group",
    # The naive way runs into SQLite's locks, and would say so for each request.
    LOGGING={"version": 1, "loggers": {"dovetail": {"level": "CRITICAL"}}},
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import Group, User  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.db import connection, connections  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from django.test.utils import CaptureQueriesContext, get_runner, override_settings  # noqa: E402
from django.urls import path  # noqa: E402
from knox.auth import TokenAuthentication  # noqa: E402
from knox.models import AuthToken  # noqa: E402
from rest_framework.permissions import AllowAny  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.test import APIRequestFactory  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_api_key.models import APIKey as TheirKey  # noqa: E402
from rest_framework_api_key.permissions import HasAPIKey  # noqa: E402
from rest_framework_simplejwt.authentication import (  # noqa: E402
    JWTAuthentication,
    JWTStatelessUserAuthentication,
)
from rest_framework_simplejwt.tokens import AccessToken  # noqa: E402

from dovetail_apikeys.api.authentication import APIKeyAuthentication  # noqa: E402
from dovetail_apikeys.models import APIKey  # noqa: E402
from dovetail_apikeys.services import create_api_key  # noqa: E402
from dovetail_apikeys.verification import usage  # noqa: E402

ROUNDS, CALLS = 60, 10
THREADS, REQUESTS, REPEATS = 8, 40, 25
factory = APIRequestFactory()
Call = Callable[[], Any]


class Bare(APIView):
    authentication_classes: Any = ()
    permission_classes: Any = (AllowAny,)

    def get(self, request: Any) -> Response:
        return Response({"ok": True})


class ByKey(Bare):
    authentication_classes = (APIKeyAuthentication,)

    def get(self, request: Any) -> Response:
        # Something to do while the request's transaction is open, as every view has.
        time.sleep(0.002)
        return super().get(request)


urlpatterns = [path("", ByKey.as_view())]


def call(authenticator: Any = None, permission: Any = AllowAny, **headers: str) -> Call:
    view = Bare.as_view(
        authentication_classes=(authenticator,) if authenticator else (), permission_classes=(permission,)
    )
    return lambda: view(factory.get("/", **headers)).render()


@contextmanager
def remembered() -> Iterator[None]:
    with override_settings(API_KEYS_CACHE_TTL=60):
        yield


def cases() -> dict[str, Call]:
    one, many = User.objects.create_user("one"), User.objects.create_user("many")
    _theirs, their_raw = TheirKey.objects.create_key(name="bench")
    _token, knox_one = AuthToken.objects.create(one)
    knox_many = [AuthToken.objects.create(many)[1] for _ in range(100)][-1]
    _ours, raw = create_api_key(organization=Group.objects.create(name="bench"), name="bench")
    access = str(AccessToken.for_user(one))
    bearer = f"Bearer {access}"
    return {
        "no authentication": call(),
        "djangorestframework-api-key HasAPIKey": call(None, HasAPIKey, HTTP_AUTHORIZATION=f"Api-Key {their_raw}"),
        "knox, 1 token": call(TokenAuthentication, HTTP_AUTHORIZATION=f"Token {knox_one}"),
        "knox, 100 tokens": call(TokenAuthentication, HTTP_AUTHORIZATION=f"Token {knox_many}"),
        "simplejwt": call(JWTAuthentication, HTTP_AUTHORIZATION=bearer),
        "simplejwt stateless": call(JWTStatelessUserAuthentication, HTTP_AUTHORIZATION=bearer),
        "dovetail-apikeys": call(APIKeyAuthentication, HTTP_AUTHORIZATION=f"Bearer {raw}"),
        "dovetail-apikeys, cache": call(APIKeyAuthentication, HTTP_AUTHORIZATION=f"Bearer {raw}"),
        "dovetail-apikeys, bad checksum": call(APIKeyAuthentication, HTTP_AUTHORIZATION=f"Bearer {raw[:-1]}-"),
    }


def fill(count: int) -> None:
    """Create as many of our keys as of djangorestframework-api-key's."""
    if connection.vendor == "postgresql":
        numbers, unique, digest = f"generate_series(1, {count}) AS n", "gen_random_uuid()", "md5(n::text)"
        now = "now()"
    else:
        numbers = f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s)"
        unique, digest, now = "lower(hex(randomblob(16)))", "lower(hex(randomblob(16)))", "CURRENT_TIMESTAMP"
    group = Group.objects.get().pk
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {APIKey._meta.db_table} (id, name, key_prefix, hashed_key, organization_id, scopes, "
            "allowed_networks, rate_limit, created_at, used_networks) "
            f"SELECT {unique}, 'fill', 'dvt_live_' || substr({digest}, 1, 20) || n, 'v1$' || {digest} || {digest}, "
            f"{group}, '', '', '', {now}, '' FROM {numbers}"
        )
        cursor.execute(
            f"INSERT INTO {TheirKey._meta.db_table} (id, prefix, hashed_key, created, name, revoked) "
            f"SELECT 'x' || n, 'x' || n, 'sha512$$' || {digest} || {digest}, {now}, 'fill', false FROM {numbers}"
        )
        cursor.execute("ANALYZE")


def measure(title: str, cases: dict[str, Call]) -> None:
    times: dict[str, list[list[float]]] = {name: [] for name in cases}
    statements = {}
    for name, run in cases.items():
        with remembered() if "cache" in name else override_settings():
            run()
            with CaptureQueriesContext(connection) as queries:
                answer = run()
        assert answer.status_code == (401 if "bad" in name else 200), (name, answer.data)
        statements[name] = len(queries)
    gc.disable()
    for _ in range(ROUNDS):
        for name, run in cases.items():
            # Outside of the clock: settings are put in place, and what was compiled or remembered is there again.
            with remembered() if "cache" in name else override_settings():
                run()
                taken = []
                for _ in range(CALLS):
                    begun = time.perf_counter()
                    run()
                    taken.append((time.perf_counter() - begun) * 1e6)
            times[name].append(taken)
    gc.enable()
    bare = times["no authentication"]
    fastest = min(map(min, bare))

    def added(name: str) -> tuple[float, float]:
        differences = [
            statistics.median(taken) - statistics.median(base) for taken, base in zip(times[name], bare, strict=True)
        ]
        return min(map(min, times[name])) - fastest, statistics.median(differences)

    their_low, theirs = added("djangorestframework-api-key HasAPIKey")
    print(f"\n{title} ({connection.vendor}; the bare view: {fastest:.0f} µs)\n")
    print(
        "| | statements | added µs, fastest | ratio | added µs, median | ratio |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name in list(cases)[1:]:
        low, middle = added(name)
        ratios = low / their_low, middle / theirs
        print(
            f"| {name} | {statements[name]} | {low:.0f} | {ratios[0]:.2f} | {middle:.0f} | {ratios[1]:.2f} |",
            flush=True,
        )


class Naive(APIKeyAuthentication):
    """The obvious solution: save the use immediately, in the request's transaction."""

    def authenticate(self, request: Any) -> Any:
        found = super().authenticate(request)
        if found is not None:
            usage.record(found[1].id, None)
        return found


def throughput(raw: str) -> float:
    handler = WSGIHandler()
    barrier = threading.Barrier(THREADS + 1)

    def work() -> None:
        requests = RequestFactory(HTTP_AUTHORIZATION=f"Bearer {raw}")
        connection.ensure_connection()
        barrier.wait()
        for _ in range(REQUESTS):
            environ = requests.get("/").environ
            answer = handler(environ, lambda status, headers: None)
            assert answer.status_code == 200
            answer.close()
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    barrier.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    return THREADS * REQUESTS / (time.perf_counter() - begun)


def noting(raw: str) -> None:
    """Use one key in 8 threads with ATOMIC_REQUESTS. Its last use is old before each run, so every thread writes."""
    ways = {
        "no tracking, once more": 0,
        "once a minute, behind the response": 60,
        "once a second, behind the response": 1,
        "each request, in its transaction": 0,
    }

    def run(name: str, interval: float) -> float:
        APIKey.objects.update(last_used=None)
        usage.gate.clear()
        ByKey.authentication_classes = (Naive if "each" in name else APIKeyAuthentication,)
        with override_settings(API_KEYS_LAST_USED_INTERVAL=interval):
            return throughput(raw)

    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(REPEATS):
        for name, interval in ways.items():
            # Each beside a run without tracking, by turns before and after it.
            order = [(name, interval), ("no tracking", 0)][:: 1 if number % 2 else -1]
            found = {each: run(each, seconds) for each, seconds in order}
            rates[name].append((found[name], found["no tracking"]))
    print(f"\nRequests a second of one key, {THREADS} threads, ATOMIC_REQUESTS ({connection.vendor})\n")
    untracked = max(base for pairs in rates.values() for _, base in pairs)
    print(f"no tracking at its best: {untracked:.0f}\n")
    print("| | best | ratio of the best | median of the ratios |\n| --- | --- | --- | --- |")
    for name, pairs in rates.items():
        best = max(each for each, _ in pairs)
        middle = statistics.median(each / base for each, base in pairs)
        print(f"| {name} | {best:.0f} | {best / untracked:.2f} | {middle:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, nargs="*", default=[1, 1_000_000])
    parser.add_argument("--prepared", action="store_true")
    numbers = parser.parse_args().keys
    packages = ("Django", "djangorestframework", "djangorestframework-api-key", "django-rest-knox")
    print(*(f"{name} {version(name)}" for name in (*packages, "djangorestframework-simplejwt")), sep=", ")
    made = cases()
    present = 1
    for count in numbers:
        if count > present:
            fill(count - present)
            present = count
        measure(f"{count} keys", made)
    _key, raw = create_api_key(organization=Group.objects.get(), name="noting")
    APIKey.objects.exclude(name="noting").delete() if present < 1000 else truncate()
    noting(raw)


def truncate() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {APIKey._meta.db_table} WHERE name <> 'noting'")


if __name__ == "__main__":
    sys.modules.setdefault("__main__", sys.modules[__name__])
    runner = get_runner(settings)(verbosity=0, interactive=False)
    old = runner.setup_databases()
    try:
        main()
    finally:
        runner.teardown_databases(old)
        shutil.rmtree(FILE.parent)
