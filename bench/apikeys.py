"""Measure the cost of authentication by API key beside other libraries, and the cost of recording its use.

    pip install djangorestframework-api-key django-rest-knox djangorestframework-simplejwt
    python bench/apikeys.py                                            # SQLite in a file
    DATABASE_URL=postgres://… python bench/apikeys.py                  # creates and drops test_<name>
    python bench/apikeys.py --keys 1 1000000                           # instead of 1 and 100 000; takes minutes
    python bench/apikeys.py --prepared                                 # PostgreSQL prepares repeated statements

One process and one connection. Each call is a whole request up to the rendered response. Rounds are interleaved, so
that other load on the machine affects all libraries equally. "Added" is the difference to the same view without
authentication: of the fastest calls, and as the median of the differences within a round. Ratios are relative to
djangorestframework-api-key's HasAPIKey: those of the fastest calls of all rounds, and the median of the ratios of three
blocks of rounds. On a busy machine, the fastest call shows the cost, and the median includes waiting.

On PostgreSQL, "row-security backend" is dovetail-apikeys on the database backend of dovetail-tenancy, as in the example
project. "In turn" also sets an organization and reads a row of it, another organization for each request, on both
backends, so it includes the statement that sets the organization. It is compared with the same on Django's backend.
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
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import django  # noqa: E402
from django.conf import settings  # noqa: E402

from tests.databases import databases  # noqa: E402
from tests.roles import create_roles, drop_roles  # noqa: E402

FILE = Path(tempfile.mkdtemp()) / "bench.sqlite3"
os.environ.setdefault("DATABASE_URL", f"sqlite:///{FILE}")
DATABASES = databases()
DATABASES["default"] |= {"ATOMIC_REQUESTS": True, "CONN_MAX_AGE": None}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": str(FILE)}
    DATABASES["default"]["OPTIONS"] = {"timeout": 30, "init_command": "PRAGMA journal_mode=WAL"}
elif "--prepared" in sys.argv:
    DATABASES["default"]["OPTIONS"] = {"server_side_binding": True, "prepare_threshold": 2}
POSTGRESQL = DATABASES["default"]["ENGINE"].endswith("postgresql")
GIVEN = dict(DATABASES["default"])
LOGIN, BYPASS = f"{GIVEN['NAME']}_bench", f"{GIVEN['NAME']}_bench_bypass"
if POSTGRESQL:
    DATABASES["secured"] = {
        **GIVEN,
        "ENGINE": "dovetail_tenancy.backends.postgresql",
        "USER": LOGIN,
        "TEST": {"MIRROR": "default"},
    }


class Router:
    """Send all queries to one database, also those of packages."""

    alias = "default"

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return Router.alias

    db_for_write = db_for_read


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
        *(["dovetail_tenancy", "tests.tenancy.documents"] if POSTGRESQL else []),
    ],
    DATABASE_ROUTERS=[Router()],
    TENANCY_BYPASS_ROLE=BYPASS,
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

ROUNDS, CALLS, BLOCKS = 60, 10, 3
THREADS, REQUESTS, REPEATS = 8, 40, 9
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
def setting(name: str) -> Iterator[None]:
    """Put the settings of a case in place."""
    Router.alias = "secured" if "row-security" in name else "default"
    with override_settings(**({"API_KEYS_CACHE_TTL": 60} if "cache" in name else {})):
        yield
    Router.alias = "default"


def cases() -> dict[str, Call]:
    one, many = User.objects.create_user("one"), User.objects.create_user("many")
    _theirs, their_raw = TheirKey.objects.create_key(name="bench")
    _token, knox_one = AuthToken.objects.create(one)
    knox_many = [AuthToken.objects.create(many)[1] for _ in range(100)][-1]
    _ours, raw = create_api_key(organization=Group.objects.create(name="bench"), name="bench")
    access = str(AccessToken.for_user(one))
    bearer = f"Bearer {access}"
    found = {
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
    if POSTGRESQL:
        found["dovetail-apikeys, row-security backend"] = found["dovetail-apikeys"]
    return found


def fill(number: int) -> None:
    """Create as many of our keys as of djangorestframework-api-key's."""
    if connection.vendor == "postgresql":
        numbers, unique, digest = f"generate_series(1, {number}) AS n", "gen_random_uuid()", "md5(n::text)"
        now = "now()"
    else:
        numbers = (
            f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {number}) SELECT n FROM s)"
        )
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
        with setting(name):
            run()
            with CaptureQueriesContext(connections[Router.alias]) as queries:
                answer = run()
        assert answer.status_code == (401 if "bad" in name else 200), (name, answer.data)
        statements[name] = len(queries)
    gc.disable()
    for _ in range(ROUNDS):
        for name, run in cases.items():
            # Outside of the clock: settings are put in place, and what was compiled or remembered is there again.
            with setting(name):
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

    size = ROUNDS // BLOCKS
    blocks = [slice(number * size, (number + 1) * size) for number in range(BLOCKS)]

    def added(name: str, block: slice = slice(None)) -> float:
        """Return the median of the differences of the rounds."""
        pairs = zip(times[name][block], bare[block], strict=True)
        return statistics.median(statistics.median(taken) - statistics.median(base) for taken, base in pairs)

    theirs = "djangorestframework-api-key HasAPIKey"
    print(f"\n{title} ({connection.vendor}; the bare view: {fastest:.0f} µs)\n")
    print("What authentication adds to the same view without it, compared with HasAPIKey\n")
    print(
        "| | statements | added µs, fastest | ratio | added µs, median | ratio |\n| --- | --- | --- | --- | --- | --- |"
    )
    their_low = min(map(min, times[theirs])) - fastest
    for name in list(cases)[1:]:
        low, middle = min(map(min, times[name])) - fastest, added(name)
        ratio = statistics.median(added(name, block) / added(theirs, block) for block in blocks)
        print(
            f"| {name} | {statements[name]} | {low:.0f} | {low / their_low:.2f} | {middle:.0f} | {ratio:.2f} |",
            flush=True,
        )


def as_composed(raw: str) -> None:
    """Compare whole requests on the two database backends of PostgreSQL."""
    from django.contrib.auth import get_user_model

    from dovetail_tenancy import get_organization_model, tenant
    from dovetail_tenancy.row_security import policies
    from tests.tenancy.documents.models import Folder

    owner = get_user_model()._default_manager.get(username="one")
    organizations = [
        get_organization_model()._default_manager.create(name=name, slug=name, owner=owner)
        for name in ("acme", "initech")
    ]
    for organization in organizations:
        with tenant(organization):
            Folder.objects.create(name="folder", organization=organization)
    with connection.schema_editor() as editor:
        for statement in policies.enable(Folder, "organization", connection):
            editor.execute(statement, None)
        editor.execute(f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{LOGIN}"')
    turns = count()

    class InTurn(Bare):
        def get(self, request: Any) -> Response:
            with tenant(organizations[next(turns) % 2]):
                return Response({"name": Folder.objects.get(name="folder").name})

    views = {
        "authentication alone": Bare.as_view(authentication_classes=(APIKeyAuthentication,)),
        "authentication, then a row of organizations in turn": InTurn.as_view(
            authentication_classes=(APIKeyAuthentication,)
        ),
        "a row of organizations in turn, without authentication": InTurn.as_view(),
    }
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for name, view in views.items():
            for backend in ("Django's", "row-security"):
                with setting(backend):
                    request = {"HTTP_AUTHORIZATION": f"Bearer {raw}"}
                    assert view(factory.get("/", **request)).render().status_code == 200
                    for _ in range(CALLS):
                        begun = time.perf_counter()
                        view(factory.get("/", **request)).render()
                        times.setdefault((name, backend), []).append((time.perf_counter() - begun) * 1e6)
    print("\nWhole requests on the row-security backend, compared with the same on Django's backend\n")
    print("| request | Django's, median µs | row-security | ratio | three blocks |\n| --- | --- | --- | --- | --- |")
    size = ROUNDS * CALLS // BLOCKS
    for name in views:
        base, taken = times[name, "Django's"], times[name, "row-security"]
        medians = [
            [statistics.median(values[start : start + size]) for start in range(0, BLOCKS * size, size)]
            for values in (base, taken)
        ]
        ratios = sorted(their / our for our, their in zip(*medians, strict=True))
        shown = f"{statistics.median(base):.0f} | {statistics.median(taken):.0f} | {statistics.median(ratios):.2f}"
        print(f"| {name} | {shown} | {ratios[0]:.2f} to {ratios[-1]:.2f} |", flush=True)


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
    parser.add_argument("--keys", type=int, nargs="*", default=[1, 100_000])
    parser.add_argument("--prepared", action="store_true")
    numbers = parser.parse_args().keys
    packages = ("Django", "djangorestframework", "djangorestframework-api-key", "django-rest-knox")
    print(*(f"{name} {version(name)}" for name in (*packages, "djangorestframework-simplejwt")), sep=", ")
    made = cases()
    if POSTGRESQL:
        with connection.cursor() as cursor:
            cursor.execute(f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{LOGIN}"')
    present = 1
    for number in numbers:
        if number > present:
            fill(number - present)
            present = number
        measure(f"{number} keys", made)
    _key, raw = create_api_key(organization=Group.objects.get(), name="noting")
    if POSTGRESQL:
        as_composed(raw)
    APIKey.objects.exclude(name="noting").delete() if present < 1000 else truncate()
    noting(raw)


def truncate() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {APIKey._meta.db_table} WHERE name <> 'noting'")


if __name__ == "__main__":
    sys.modules.setdefault("__main__", sys.modules[__name__])
    if POSTGRESQL:
        create_roles(GIVEN, login=LOGIN, bypass=BYPASS)
    runner = get_runner(settings)(verbosity=0, interactive=False)
    # Not the contents of tables, which cannot be read without an organization.
    old = runner.setup_databases(serialized_aliases=set())
    try:
        main()
    finally:
        if POSTGRESQL:
            connections["secured"].close()
        runner.teardown_databases(old)
        if POSTGRESQL:
            connection.close()
            drop_roles(GIVEN, LOGIN, f"{BYPASS}_may", BYPASS)
        shutil.rmtree(FILE.parent)
