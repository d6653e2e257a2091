"""How a database executes the statements of a request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext


def selects(call: Callable[[], Any], table: str) -> list[str]:
    """The statements of ``call`` that select from ``table``."""
    with CaptureQueriesContext(connection) as queries:
        assert call().status_code == 200
    statements = [query["sql"] for query in queries if f'FROM "{table}"' in query["sql"]]
    assert statements
    return statements


def plan(call: Callable[[], Any], table: str) -> str:
    """The plan of SQLite or PostgreSQL for these statements."""
    command = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    steps = []
    with connection.cursor() as cursor:
        for statement in selects(call, table):
            cursor.execute(f"{command} {statement}")
            steps += cursor.fetchall()
    return "\n".join(str(step) for step in steps)


def sorts(call: Callable[[], Any], table: str) -> bool:
    """Whether the database sorts rows of ``table``, and so reads all of them, for one page."""
    return re.search("sort|temp b-tree", plan(call, table), re.IGNORECASE) is not None


def rows_read(call: Callable[[], Any], table: str) -> int:
    """The number of rows of ``table`` that PostgreSQL reads."""
    read = 0
    with connection.cursor() as cursor:
        for statement in selects(call, table):
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
            (plans,) = cursor.fetchone()
            for node in nodes((json.loads(plans) if isinstance(plans, str) else plans)[0]["Plan"]):
                if node.get("Relation Name") == table:
                    dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
                    read += (node["Actual Rows"] + dropped) * node["Actual Loops"]
    return int(read)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)
