from __future__ import annotations

from functools import cache
from typing import Any

from dovetail_tenancy.row_security.scope import in_database


class Bound:
    """Mixed into Django's compilers: the database shows what a pinned query was bound to, like the ORM."""

    query: Any

    def execute_sql(self, *args: Any, **kwargs: Any) -> Any:
        # Of an aggregate over a subquery, the inner query is the one that was pinned.
        query = getattr(self.query, "inner_query", self.query)
        with in_database(getattr(query, "tenancy_scope", None)):
            return super().execute_sql(*args, **kwargs)  # type: ignore[misc]  # the compiler's


@cache
def bound(compiler: Any) -> Any:
    return type(compiler.__name__, (Bound, compiler), {})
