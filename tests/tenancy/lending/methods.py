"""Calls of every public method of Django's querysets and managers that read or write a row of theirs.

The names come from the installed Django. A method that is missing in these tables fails a test.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync
from django.db import models
from django.db.models import Count, Manager, QuerySet
from django.db.models.functions import Upper

from tests.tenancy.lending.cases import Case, for_them, stolen
from tests.tenancy.lending.world import World

Arguments = Callable[[World], tuple[tuple[Any, ...], dict[str, Any]]]


def of(*args: Any, **kwargs: Any) -> Arguments:
    return lambda m: (args, kwargs)


def row_of_theirs(m: World) -> Any:
    return (m.row["book"],), {}


def new_row(m: World) -> Any:
    return (), for_them(m)


def other_rows(m: World) -> Any:
    return (m.rows(m.Book).filter(title="theirs"),), {}


def stored(m: World) -> Any:
    return (), {"pk": m.row["book"].pk, "defaults": for_them(m)}


# Django has asynchronous variants of some, with the prefix "a".
QUERYSET: dict[str, Arguments] = {
    "aggregate": of(n=Count("pk")),
    "alias": of(n=Count("pk")),
    "all": of(),
    "annotate": of(n=Count("pages")),
    "bulk_create": lambda m: (([m.Book(**for_them(m))],), {}),
    "bulk_update": lambda m: (([stolen(m.row["book"])], ["title"]), {}),
    "complex_filter": of({"title": "theirs"}),
    "contains": row_of_theirs,
    "count": of(),
    "create": new_row,
    "dates": of("day", "year"),
    "datetimes": of("at", "year"),
    "defer": of("title"),
    "delete": of(),
    "difference": lambda m: ((m.rows(m.Book).filter(title="other"),), {}),
    "distinct": of(),
    "earliest": of("day"),
    "exclude": of(title="other"),
    "exists": of(),
    "extra": of(where=["1 = 1 OR 1 = 1"]),
    "fetch_mode": lambda m: ((models.FETCH_PEERS,), {}),  # type: ignore[attr-defined]  # Django 6.1
    "filter": of(title="theirs"),
    "first": of(),
    "get": of(title="theirs"),
    "get_or_create": stored,
    "in_bulk": of(),
    "intersection": other_rows,
    "iterator": of(),
    "last": of(),
    "latest": of("day"),
    "only": of("title"),
    "order_by": of("title"),
    "prefetch_related": of("pages", "topics"),
    "reverse": of(),
    "select_for_update": of(),
    "select_related": of("shelf"),
    "union": other_rows,
    "update": of(title="stolen"),
    "update_or_create": stored,
    "using": of("default"),
    "values": of("title"),
    "values_list": of("title", Upper("title")),
}

DUNDERS: dict[str, Callable[[World, Any], Any]] = {
    "__iter__": lambda m, rows: list(rows),
    "__len__": lambda m, rows: len(rows),
    "__bool__": lambda m, rows: bool(rows),
    "__getitem__": lambda m, rows: rows[0],
    "__repr__": lambda m, rows: str(m.row["book"].pk) in repr(rows),
    "__and__": lambda m, rows: rows & m.rows(m.Book).filter(title="theirs"),
    "__or__": lambda m, rows: rows | m.rows(m.Book).filter(title="theirs"),
    "__xor__": lambda m, rows: rows ^ m.rows(m.Book).filter(title="other"),
    "__deepcopy__": lambda m, rows: copy.deepcopy(rows),
    "__getstate__": lambda m, rows: pickle.loads(pickle.dumps(rows)),
    "__setstate__": lambda m, rows: pickle.loads(pickle.dumps(rows)),
    "__aiter__": lambda m, rows: async_to_sync(collected)(rows),
}

NO_ROWS = {
    "as_manager", "db", "none", "ordered", "query", "resolve_expression", "totally_ordered", "__class_getitem__",
    "__doc__", "__firstlineno__", "__init__", "__module__", "__static_attributes__",
    "auto_created", "check", "contribute_to_class", "creation_counter", "db_manager", "deconstruct", "from_queryset",
    "get_queryset", "use_in_migrations",
    # Of related managers: parts of prefetching, and a flag for templates.
    "constrained_target", "do_not_call_in_templates", "get_prefetch_cache", "get_prefetch_queryset",
    "get_prefetch_querysets", "set_base",
}  # fmt: skip
"""What never asks the database, or makes a queryset whose other methods do."""

REFUSED_ONLY = {
    "explain": of(),
    "raw": lambda m: ((f"SELECT * FROM {m.Book._meta.db_table}",), {}),
}
"""What shows no row, or runs SQL that is the author's own: refused where no organization is active, and no more."""

RELATED = {"add", "clear", "remove", "set"}
"""What related managers have more; among the writes, each also by its asynchronous twin."""


async def collected(rows: Any) -> list[Any]:
    return [row async for row in rows]


def call(name: str, arguments: Arguments) -> Callable[[World, Any], Any]:
    """Return the method. An asynchronous one is run to completion in the thread of the test's transaction."""

    def run(m: World, rows: Any) -> Any:
        args, kwargs = arguments(m)
        answer = getattr(rows, name)(*args, **kwargs)
        if hasattr(answer, "__aiter__") and not isinstance(answer, QuerySet):
            return async_to_sync(collected)(answer)
        return async_to_sync(awaited)(answer) if hasattr(answer, "__await__") else answer

    return run


async def awaited(answer: Any) -> Any:
    return await answer


def calls(table: dict[str, Arguments]) -> dict[str, Callable[[World, Any], Any]]:
    cases = {}
    for name, arguments in table.items():
        for variant in (name, f"a{name}"):
            if hasattr(QuerySet, variant):
                cases[variant] = call(variant, arguments)
    return cases


def public(kind: type) -> set[str]:
    special = {name for name in vars(kind) if name.startswith("__")} if kind is QuerySet else set()
    return {name for name in dir(kind) if not name.startswith("_")} | special


def classified() -> set[str]:
    twins = {f"a{name}" for name in [*QUERYSET, *REFUSED_ONLY, *RELATED]}
    return {*QUERYSET, *REFUSED_ONLY, *RELATED, *twins, *DUNDERS, *NO_ROWS}


def cases() -> list[Case]:
    """Return the cases of each method of the queryset, and of the manager if it has the method."""
    cases = []
    for name, run in {**calls(QUERYSET), **DUNDERS}.items():
        cases.append(Case(f"QuerySet.{name}", lambda m, run=run: run(m, m.rows(m.Book).all())))
        if hasattr(Manager, name) and not name.startswith("__"):
            cases.append(Case(f"Manager.{name}", lambda m, run=run: run(m, m.rows(m.Book))))
    return cases


def refused() -> list[Case]:
    return [Case(name, lambda m, run=run: run(m, m.rows(m.Book))) for name, run in calls(REFUSED_ONLY).items()]
