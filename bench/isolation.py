"""Measure how many cases leak with each way of isolating organizations, and what a query costs with it.

    pip install django-scopes==2.1.0 django-multitenant==4.1.1 django-organizations==2.7.0 django-filter
    python bench/isolation.py                             # SQLite in memory
    DATABASE_URL=postgres://… python bench/isolation.py   # creates and drops test_<name>

The argument ``leaks`` or ``times`` runs only one of the two.

The cases are those of tests/tenancy/lending, which dovetail-tenancy's own tests run, on the same tables. A case counts
for a library if it works there for code that may see all rows. django-multitenant runs in its strict mode.
django-organizations filters nothing itself: with it, and as "explicit filter", every query that starts at a tenant
model is filtered by hand.

Times are of one process and one connection. Each round runs the query of each library in turn, so that other load on
the machine affects all equally. The ratio is the median over the rounds of the quotient with the explicit filter.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import django  # noqa: E402
from django.conf import settings  # noqa: E402

from tests.databases import databases  # noqa: E402

OTHERS = ("explicit", "with_multitenant", "with_organizations", "with_scopes")

settings.configure(
    SECRET_KEY="a-key-for-measuring-only-of-32-characters",
    DATABASES=databases(),
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "organizations",
        "dovetail_tenancy",
        "tests.tenancy.lending",
        *(f"bench.lending.{label}" for label in OTHERS),
    ],
    # Their tables refer to migrated ones, so they are made after those.
    MIGRATION_MODULES=dict.fromkeys(OTHERS, "bench.lending.no_migrations"),
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    TENANT_STRICT_MODE=True,
    TENANT_USE_ASGIREF=True,
    USE_TZ=True,
)
django.setup()

from django.apps import apps  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.test.utils import get_runner  # noqa: E402
from django_multitenant.utils import get_current_tenant, set_current_tenant  # noqa: E402
from django_scopes import scope, scopes_disabled  # noqa: E402

from bench.lending.explicit import models as explicit  # noqa: E402
from bench.lending.with_multitenant import models as with_multitenant  # noqa: E402
from bench.lending.with_organizations import models as with_organizations  # noqa: E402
from bench.lending.with_scopes import models as with_scopes  # noqa: E402
from dovetail_tenancy import get_organization_model, tenant, unscoped  # noqa: E402
from tests.tenancy.lending import early, methods, models, reads, writes  # noqa: E402
from tests.tenancy.lending.cases import Case, attempt  # noqa: E402
from tests.tenancy.lending.world import World  # noqa: E402

FAMILIES: dict[str, list[Case]] = {
    "querysets' and managers' methods": methods.cases(),
    "joins": reads.JOINS,
    "many-to-many": reads.MANY_TO_MANY,
    "inherited tables": reads.INHERITANCE,
    "generic relations": reads.GENERIC,
    "foreign keys of theirs in rows of mine": reads.FORGED,
    "made in one organization, run in another": early.EARLY,
    "writes": writes.ROWS,
    "many-to-many writes": writes.LINKS,
}
ORGANIZATIONS, BOOKS, ROUNDS, CALLS = 100, 100, 120, 2
chosen: ContextVar[Any] = ContextVar("chosen", default=None)


@contextlib.contextmanager
def choose(organization: Any) -> Iterator[None]:
    token = chosen.set(organization)
    try:
        yield
    finally:
        chosen.reset(token)


@contextlib.contextmanager
def multitenant(organization: Any) -> Iterator[None]:
    before = get_current_tenant()
    set_current_tenant(organization)
    try:
        yield
    finally:
        set_current_tenant(before)


def by_hand(model: Any) -> Any:
    """The filter that a careful author writes. For trusted code, all rows."""
    return model.objects.all() if chosen.get() == "everything" else model.objects.filter(organization=chosen.get())


def named_only(module: Any) -> Callable[[str], Any]:
    return lambda name: module.Organization.objects.create(name=name)


def with_slug(name: str) -> Any:
    model = with_organizations.Organization
    return model.objects.create(name=name, slug=f"{name}-{model.objects.count()}")


def with_owner(name: str) -> Any:
    from django.contrib.auth import get_user_model

    owner = get_user_model().objects.create(username=f"{name}-{get_user_model().objects.count()}")
    return get_organization_model()._default_manager.create(name=name, slug=owner.username, owner=owner)


WORLDS = {
    "explicit filter": World(
        explicit,
        explicit.Organization,
        within=choose,
        everything=lambda: choose("everything"),
        rows=by_hand,
        make_organization=named_only(explicit),
    ),
    "dovetail-tenancy": World(
        models,
        get_organization_model(),
        within=tenant,
        everything=lambda: unscoped(reason="bench"),
        make_organization=with_owner,
    ),
    "django-scopes": World(
        with_scopes,
        with_scopes.Organization,
        within=lambda organization: scope(organization=organization),
        everything=scopes_disabled,
        make_organization=named_only(with_scopes),
    ),
    "django-organizations": World(
        with_organizations,
        with_organizations.Organization,
        within=choose,
        everything=lambda: choose("everything"),
        rows=by_hand,
        make_organization=with_slug,
    ),
    "django-multitenant": World(
        with_multitenant,
        with_multitenant.Organization,
        within=multitenant,
        everything=lambda: multitenant(None),
        make_organization=named_only(with_multitenant),
    ),
}


def leaks(m: World, cases: list[Case]) -> tuple[int, int, int]:
    """Return the number of cases that work at all, and of those that leak with no and with another organization."""
    can = [case for case in cases if attempt(m, case, m.everything()).leaked]
    without = sum(attempt(m, case, contextlib.nullcontext()).leaked for case in can)
    other = sum(attempt(m, case, m.within(m.mine)).leaked for case in can)
    return len(can), without, other


def count_leaks() -> None:
    found: dict[str, dict[str, tuple[int, int, int]]] = {}
    for name, m in WORLDS.items():
        with transaction.atomic():
            m.fill()
            found[name] = {family: leaks(m, cases) for family, cases in FAMILIES.items()}
            transaction.set_rollback(True)
    print(f"\nLeaks: no organization active / another active, of all cases ({connection.vendor})\n")
    print(f"| | {' | '.join(found)} |\n| --- |{' --- |' * len(found)}")
    for family in FAMILIES:
        print(f"| {family} | {' | '.join(_cell(found[name][family]) for name in found)} |")
    totals = {name: tuple(map(sum, zip(*each.values(), strict=True))) for name, each in found.items()}
    print(f"| all | {' | '.join(_cell(total) for total in totals.values())} |")


def _cell(counts: tuple[int, ...]) -> str:
    every, without, other = counts
    return f"{without} / {other} of {every}"


# Times ----------------------------------------------------------------------------------------------------------------

QUERIES: dict[str, Callable[[World], Any]] = {
    "50 newest": lambda m: list(m.rows(m.Book).order_by("-day", "pk")[:50]),
    "50 newest, as tuples": lambda m: list(m.rows(m.Book).order_by("-day", "pk").values_list("pk", "title")[:50]),
    "one by key": lambda m: m.rows(m.Book).get(pk=m.row["book"].pk),
    "count": lambda m: m.rows(m.Book).count(),
    "exists": lambda m: m.rows(m.Book).filter(title="none").exists(),
    "a join": lambda m: list(m.rows(m.Page).filter(book__title="one")[:50]),
    "select_related": lambda m: list(m.rows(m.Page).select_related("book")[:50]),
    "update": lambda m: m.rows(m.Page).filter(text="none").update(text="none"),
}


def fill(m: World) -> None:
    m.theirs = [m.make_organization(f"organization {number}") for number in range(ORGANIZATIONS)][ORGANIZATIONS // 2]
    for organization in m.Organization._default_manager.all():
        with m.within(organization):
            shelf = m.Shelf.objects.create(name="shelf", organization=organization)
            books = [m.Book(shelf=shelf, title=f"book {n}", organization=organization) for n in range(BOOKS)]
            m.Book.objects.bulk_create(books)
            m.Page.objects.bulk_create([m.Page(book=book, text="page", organization=organization) for book in books])
            if organization.pk == m.theirs.pk:
                m.row["book"] = books[0]


def measure(query: Callable[[World], Any]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in WORLDS}
    order = list(WORLDS)
    for turn in range(ROUNDS):
        # Not always in the same order: who comes first after another finds its caches cold.
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            m = WORLDS[name]
            with m.within(m.theirs):
                query(m)
                begun = time.perf_counter()
                for _ in range(CALLS):
                    query(m)
                times[name].append((time.perf_counter() - begun) / CALLS * 1e6)
    return times


def time_queries() -> None:
    for m in WORLDS.values():
        fill(m)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    print(f"\nMedian µs, and times the explicit filter ({connection.vendor}, {ORGANIZATIONS * BOOKS} books)\n")
    print(f"| | {' | '.join(WORLDS)} |\n| --- |{' --- |' * len(WORLDS)}")
    gc.disable()
    for title, query in QUERIES.items():
        times = measure(query)
        gc.collect()
        base = times["explicit filter"]
        cells = []
        for values in times.values():
            ratio = statistics.median(value / one for value, one in zip(values, base, strict=True))
            cells.append(f"{statistics.median(values):.0f} ({ratio:.2f})")
        print(f"| {title} | {' | '.join(cells)} |", flush=True)
    gc.enable()


def make_tables() -> None:
    with connection.schema_editor() as editor:
        for label in OTHERS:
            for model in apps.get_app_config(label).get_models():
                editor.create_model(model)


def main() -> None:
    make_tables()
    names = ("django", "django-scopes", "django-multitenant", "django-organizations")
    print(", ".join(f"{name} {version(name)}" for name in names), f"Python {sys.version.split()[0]}", sep=", ")
    if "times" not in sys.argv:
        count_leaks()
    if "leaks" not in sys.argv:
        time_queries()


if __name__ == "__main__":
    runner = get_runner(settings)(verbosity=0, interactive=False)
    with unscoped(reason="test database creation"):
        old = runner.setup_databases(serialized_aliases=())
    try:
        main()
    finally:
        runner.teardown_databases(old)
