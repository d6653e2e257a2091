"""The one query of an authenticated request, compiled once.

To build a query with the ORM costs more than all the rest of an authentication together (145 of 165 microseconds on
SQLite), and a model instance as much again. So the ORM writes the SQL once for each database, and only the prefix is
put in afterwards. Projects' own models, primary keys, columns and conditions are the ORM's business as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import EmptyResultSet
from django.core.signals import setting_changed
from django.db import connections, router
from django.db.models import Q

from dovetail_apikeys import get_api_key_model
from dovetail_apikeys.conf import conf
from dovetail_apikeys.verification.request_settings import hot

_PLACE: Final = "the prefix of the key"


class Stored(NamedTuple):
    """The columns that a request needs of a key, in the order of the query."""

    id: Any
    hashed_key: str
    organization_id: Any
    scopes: str
    allowed_networks: str
    rate_limit: str
    created_by_id: Any
    expires_at: datetime | None
    revoked_at: datetime | None


class Query:
    """``SELECT … WHERE key_prefix = %s`` for one model on one database."""

    def __init__(self, model: Any, alias: str) -> None:
        # Not values_list(), which repeats the name of each column behind AS, for the database to read each time.
        rows = model._base_manager.using(alias).filter(condition() & Q(key_prefix=_PLACE)).only(*Stored._fields)
        # Converters are bound to the connection that a query was compiled for: to one of our own that is never opened
        # to stay, or a thread's connection would live as long as the process.
        connection = connections.create_connection(alias)
        try:
            compiler = rows.order_by().query.get_compiler(connection=connection)
            self.sql, parameters = compiler.as_sql()
            query = compiler.query
            if len(query.alias_map) == len(query.where.children) == 1 and not query.annotations:
                # Nor the table's, where there is but one, and no condition with a query of its own that means it.
                self.sql = self.sql.replace(f"{connection.ops.quote_name(model._meta.db_table)}.", "")
            columns = [column for column, _, _ in compiler.select]
            converters = compiler.get_converters(columns)
        except EmptyResultSet:
            # A condition that nothing meets, such as Q(pk__in=[]).
            self.sql, parameters, columns, converters = "", (), [], {}
        finally:
            connection.close()
        self.alias = alias
        self.connection = connection
        self.parameters = list(parameters)
        self.place = self.parameters.index(_PLACE) if self.sql else 0
        # The model has an order of its own, and a child of another model a key beside its parent's.
        found = {column.target.attname: index for index, column in enumerate(columns) if hasattr(column, "target")}
        self.arranged = itemgetter(*(found[name] for name in Stored._fields)) if self.sql else tuple
        self.converters: Sequence[tuple[int, list[Callable[..., Any]], Any]] = [
            (index, functions, expression) for index, (functions, expression) in converters.items()
        ]

    def run(self, prefix: str) -> Stored | None:
        if not self.sql:
            return None
        parameters = self.parameters.copy()
        parameters[self.place] = prefix
        # Django's cursor, for the project's query logs, instrumentation and execute wrappers.
        with connections[self.alias].cursor() as cursor:
            cursor.execute(self.sql, parameters)
            row = cursor.fetchone()
        if row is None:
            return None
        values = list(row)
        for index, functions, expression in self.converters:
            for convert in functions:
                values[index] = convert(values[index], expression, self.connection)
        return Stored._make(self.arranged(values))


_queries: dict[tuple[Any, str], Query] = {}


def look_up(prefix: str) -> Stored | None:
    """The stored key of this prefix that meets ``API_KEYS_CONDITION``, revoked and expired ones included. One query.

    From the database that is written: a replica may not know of a revocation yet.
    """
    model = hot().model
    alias = router.db_for_write(model)
    query = _queries.get((model, alias))
    if query is None:
        query = _queries[model, alias] = Query(model, alias)
    return query.run(prefix)


def condition() -> Q:
    """What must hold of a key beside its being neither revoked nor expired."""
    if conf.CONDITION is not None:
        given: Q = conf.CONDITION()
        return given
    user = get_user_model()
    organization: Any = get_api_key_model()._meta.get_field("organization").related_model
    # A person who may not sign in has no key to come in by either.
    if organization is user and any(field.name == "is_active" for field in user._meta.concrete_fields):
        return Q(organization__is_active=True)
    return Q()


def _forget(**kwargs: Any) -> None:
    _queries.clear()


# Models, databases and time zones are settings; tests change them.
setting_changed.connect(_forget, dispatch_uid="dovetail_apikeys.lookup")
