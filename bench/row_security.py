"""Measure the cost of row-level security beside the ORM's filter, and of other forms of its policy.

    DATABASE_URL=postgres://postgres@127.0.0.1/dovetail python bench/row_security.py

Creates and drops test_<name> and two roles; the user in the URL must be a superuser. 300 000 rows of 1 000
organizations. One process; rounds are interleaved, so that other load on the machine affects all equally. Times are
medians in microseconds. Ratios are medians of the ratios of three blocks of rounds, with the least and the greatest.
"The filter alone" is Django's own backend with a superuser, to whom row security does not apply. Every transaction and
every request in turn includes the statement that sets its organization. Round trips are those that our backend adds.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]
if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
    sys.exit(f"Set DATABASE_URL to a PostgreSQL database.\n\n{__doc__}")

import django  # noqa: E402
from django.conf import settings  # noqa: E402

from tests.databases import databases  # noqa: E402
from tests.roles import create_roles, drop_roles  # noqa: E402

DATABASES = databases()
GIVEN = dict(DATABASES["default"])
LOGIN, BYPASS = f"{GIVEN['NAME']}_bench", f"{GIVEN['NAME']}_bench_bypass"
DATABASES["plain"] = {**GIVEN, "TEST": {"MIRROR": "default"}}
DATABASES["default"] |= {"ENGINE": "dovetail_tenancy.backends.postgresql", "USER": LOGIN}
settings.configure(
    SECRET_KEY="a-key-for-measuring-only-of-32-characters",
    DATABASES=DATABASES,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "dovetail_tenancy",
        "tests.tenancy.documents",
    ],
    TENANCY_BYPASS_ROLE=BYPASS,
    USE_TZ=True,
)
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.db import connection, connections, transaction  # noqa: E402
from django.test.utils import get_runner  # noqa: E402

from dovetail_core.sql import CompiledQuery  # noqa: E402
from dovetail_tenancy import get_organization_model, tenant, unscoped  # noqa: E402
from dovetail_tenancy.row_security import policies  # noqa: E402
from dovetail_tenancy.row_security.session import Session  # noqa: E402
from tests.tenancy.documents.models import Folder  # noqa: E402

ROUNDS, CALLS, BLOCKS = 39, 25, 3
ORGANIZATIONS, ROWS = 1000, 300
TABLE = "documents_folder"
CURRENT = "(SELECT nullif(current_setting('tenancy.organization', true), '')::uuid)"
INLINE = "nullif(current_setting('tenancy.organization', true), '')::uuid"
OURS = f"organization_id = {CURRENT}"
HEAD = "| {} | filter alone, µs | with row security, µs | ratio | three blocks |\n| --- | --- | --- | --- | --- |"
SHAPES = {
    "the organization only, as a sub-select (ours)": OURS,
    "the organization only, inline": f"organization_id = {INLINE}",
    "OR a bypass setting, sub-selects": (
        f"organization_id = {CURRENT} OR (SELECT current_setting('tenancy.bypass', true) = 'on')"
    ),
    "CASE with a bypass setting": (
        "CASE WHEN (SELECT current_setting('tenancy.bypass', true) = 'on') THEN true "
        f"ELSE organization_id = {CURRENT} END"
    ),
}


def execute(*statements: str) -> None:
    with connection.schema_editor() as editor:
        for statement in statements:
            editor.execute(statement, None)


def fill() -> Any:
    owner = get_user_model()._default_manager.create(username="owner")
    organizations = get_organization_model()._default_manager.bulk_create(
        get_organization_model()(name=f"n{n}", slug=f"s{n}", owner=owner) for n in range(ORGANIZATIONS)
    )
    execute(
        f"INSERT INTO {TABLE} (id, name, organization_id) "
        f"SELECT gen_random_uuid(), 'folder ' || n, o.id FROM generate_series(1, {ROWS}) n, "
        "dovetail_tenancy_organization o"
    )
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {TABLE}")
    return organizations


def secure(condition: str | None) -> None:
    execute(*policies.disable(Folder, connection))
    if condition:
        execute(*policies.enable(Folder, "organization", connection))
        execute(f"ALTER POLICY {policies.ORGANIZATION_POLICY} ON {TABLE} USING ({condition})")


@contextmanager
def counted() -> Iterator[list[int]]:
    sent, send = [0], Session._send

    def count(self: Session, driver: Any, *statements: Any) -> None:
        sent[0] += 1
        send(self, driver, *statements)

    switches = Session._switches

    def ask(self: Session, driver: Any) -> bool:
        sent[0] += self._must_switch is None
        return switches(self, driver)

    Session._send, Session._switches = count, ask  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        Session._send, Session._switches = send, switches  # type: ignore[method-assign]


def timed(query: Callable[[], Any]) -> list[float]:
    times = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        query()
        times.append((time.perf_counter() - begun) * 1e6)
    return times


def row(name: str, times: list[float], base: list[float]) -> None:
    """Print medians, and the ratios of three blocks of rounds."""
    size = len(times) // BLOCKS
    blocks = [slice(number * size, (number + 1) * size) for number in range(BLOCKS)]
    ratios = sorted(statistics.median(times[block]) / statistics.median(base[block]) for block in blocks)
    medians = f"{statistics.median(base):.0f} | {statistics.median(times):.0f} | {statistics.median(ratios):.2f}"
    print(f"| {name} | {medians} | {ratios[0]:.2f} to {ratios[-1]:.2f} |", flush=True)


def transactions(organizations: list[Any]) -> None:
    """Measure from BEGIN to COMMIT. Each transaction is of another organization than the previous one."""
    queries: dict[str, Callable[[Any], Any]] = {
        "50 rows": lambda rows: list(rows.order_by("id")[:50]),
        "a count": lambda rows: rows.count(),
        "one row by its name": lambda rows: rows.get(name="folder 7"),
        "ten rows by their names": lambda rows: [rows.get(name=f"folder {n}") for n in range(1, 11)],
    }
    secure(OURS)
    print(
        "\nRow security and the filter, compared with the filter alone: transactions from BEGIN to COMMIT, each of "
        f"another organization, with its SET\n\n{HEAD.format('transaction')}"
    )
    times: dict[tuple[str, str], list[float]] = {}
    for number in range(ROUNDS):
        for name, query in queries.items():
            for alias in ("plain", "default"):
                turns = count(number * CALLS)

                def whole(query: Any = query, alias: str = alias, turns: Any = turns) -> None:
                    with tenant(organizations[next(turns) % ORGANIZATIONS]), transaction.atomic(using=alias):
                        query(Folder.objects.using(alias))

                times.setdefault((name, alias), []).extend(timed(whole))
    for name in queries:
        row(name, times[name, "default"], times[name, "plain"])


def shapes(organizations: list[Any]) -> None:
    print("\nOther policies, compared with ours: count(*) without a filter, without the SET\n")
    print("| policy | ours, µs | this one, µs | ratio | three blocks |\n| --- | --- | --- | --- | --- |")
    times: dict[str, list[float]] = {}
    for _ in range(BLOCKS):
        for name, condition in SHAPES.items():
            secure(condition)
            with transaction.atomic(), tenant(organizations[0]), connection.cursor() as cursor:

                def query(cursor: Any = cursor) -> None:
                    cursor.execute(f"SELECT count(*) FROM {TABLE}")
                    assert cursor.fetchone() == (ROWS,)

                query()
                times.setdefault(name, []).extend(timed(query))
    ours, *others = times
    for name in others:
        row(name, times[name], times[ours])


def requests(organizations: list[Any]) -> None:
    """Measure a query that authenticates, then 50 rows of an organization, on a connection that stays open."""
    secure(OURS)
    users = get_user_model()
    times: dict[tuple[str, str], list[float]] = {}
    accounts = {
        alias: CompiledQuery(users._base_manager.using(alias).order_by()[:1], using=alias, reads=[users])
        for alias in ("plain", "default")
    }
    cases = {
        "organizations in turn, autocommit": (2, nullcontext),
        "organizations in turn, ATOMIC_REQUESTS": (2, transaction.atomic),
        "always one organization, autocommit": (1, nullcontext),
        "always one organization, ATOMIC_REQUESTS": (1, transaction.atomic),
    }
    for number in range(ROUNDS):
        for name, (different, block) in cases.items():
            for alias, account in accounts.items():
                turns = count(number)

                def request(
                    account: Any = account,
                    alias: str = alias,
                    different: int = different,
                    turns: Any = turns,
                    block: Any = block,
                ) -> None:
                    with block(alias):
                        account.rows()
                        with tenant(organizations[next(turns) % different]):
                            list(Folder.objects.using(alias).order_by("id")[:50])

                request()
                times.setdefault((name, alias), []).extend(timed(request))
    print(
        "\nRow security and the filter, compared with the filter alone: requests that authenticate by a query and read "
        f"50 rows, with their SET if the organization changes\n\n{HEAD.format('requests')}"
    )
    for name in cases:
        row(name, times[name, "default"], times[name, "plain"])


def round_trips(organizations: list[Any]) -> None:
    secure(OURS)
    print("\nRound trips of the backend's own for 100 queries\n")
    print("| where | session mode | transaction mode |\n| --- | --- | --- |")

    def one() -> None:
        with tenant(organizations[1]):
            for _ in range(100):
                Folder.objects.first()

    def in_one_transaction() -> None:
        with transaction.atomic():
            one()

    def alternating() -> None:
        for number in range(100):
            with tenant(organizations[number % 2]):
                Folder.objects.first()

    def requests_in_turn() -> None:
        for number in range(100):
            accounts.rows()
            with tenant(organizations[number % 2]):
                Folder.objects.first()

    users = get_user_model()
    accounts = CompiledQuery(users._base_manager.order_by()[:1], using="default", reads=[users])

    def everything() -> None:
        with unscoped(reason="a measurement"):
            for _ in range(100):
                Folder.objects.first()

    def everything_in_one_transaction() -> None:
        with transaction.atomic():
            everything()

    for name, work in {
        "one organization, autocommit": one,
        "one organization, one transaction": in_one_transaction,
        "two organizations in turn, autocommit": alternating,
        "the same, each after a query that authenticates": requests_in_turn,
        "unscoped, autocommit": everything,
        "unscoped, one transaction": everything_in_one_transaction,
    }.items():
        found = []
        for mode in ("session", "transaction"):
            connection.close()
            connection.row_security.mode = mode  # type: ignore[attr-defined]
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")  # connecting sets the time zone
            with counted() as sent:
                work()
            found.append(str(sent[0]))
        print(f"| {name} | {' | '.join(found)} |")
    connection.row_security.mode = "session"  # type: ignore[attr-defined]


if __name__ == "__main__":
    create_roles(GIVEN, login=LOGIN, bypass=BYPASS)
    runner = get_runner(settings)(verbosity=0, interactive=False)
    with unscoped(reason="test database creation"):
        old = runner.setup_databases()
    try:
        made = fill()
        gc.disable()
        requests(made)
        transactions(made)
        shapes(made)
        round_trips(made)
    finally:
        connections["plain"].close()
        runner.teardown_databases(old)
        connection.close()
        drop_roles(GIVEN, LOGIN, f"{BYPASS}_may", BYPASS)
