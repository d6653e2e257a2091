"""The recipients of a notification as querysets of users, which the database reads without a list of keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import F, Model, Q, QuerySet

from dovetail_core import accounts
from dovetail_core.sql import Placeholder, pad
from dovetail_notify.conf import conf
from dovetail_notify.sql.insert_select import QuerySetPlaceholder

#: Up to this many named recipients, a query first looks whether any of them has a preference.
_FEW: Final = 64
#: Up to this many named recipients, the statement is compiled once.
_MAX_COMPILED_KEYS: Final = 512


class AudienceShape(NamedTuple):
    """Everything that the SQL of an audience depends on, apart from the values and querysets that have placeholders."""

    model: type[Model]
    #: How a queryset of recipients is read, or the number of recipients that are named.
    recipients: Literal["condition", "subquery"] | int
    has_members: bool

    def users(self, using: str) -> QuerySet[Any]:
        """Return the active users with placeholders for the recipients and the organization's members."""
        condition: Any
        if isinstance(self.recipients, int):
            field = _key_field(self.model)
            condition = Q(pk__in=[Placeholder(_recipient(number), field) for number in range(self.recipients)])
        else:
            condition = QuerySetPlaceholder("to", *([F("pk")] if self.recipients == "subquery" else []))
        users = accounts.active(self.model._base_manager.using(using).order_by().filter(condition))
        return users.filter(QuerySetPlaceholder("members", F("pk"))) if self.has_members else users


@dataclass(frozen=True, slots=True)
class CompilableAudience:
    """An audience whose statement is compiled once for its shape; the rest fills the placeholders."""

    shape: AudienceShape
    values: Mapping[str, Any]
    querysets: Mapping[str, QuerySet[Any]]


class Audience:
    """The users in ``to``. ``named`` are their keys if the caller named them one by one, and None for a queryset."""

    def __init__(self, to: Any, *, organization_key: str | None, using: str) -> None:
        self.using = using
        self.members = conf.MEMBERS(organization_key) if conf.MEMBERS and organization_key else None
        self.named: list[Any] | None = None
        #: ``to`` as a queryset, if a statement can read it: as a condition if ``is_condition``, else as a subquery.
        self.rows: QuerySet[Any] | None = None
        self.is_condition = False
        self.chunks: list[list[Any]] = []
        if isinstance(to, QuerySet):
            self._take_queryset(to)
        else:
            self.named = _parse_keys(to)
            self.chunks = list(_chunks(self.named, using))

    def querysets(self) -> Iterator[QuerySet[Any]]:
        """Yield the active users, narrowed to the organization's members; several querysets only for very many keys."""
        if self.is_condition and self.rows is not None:
            # The same set without a subquery, for which PostgreSQL reads all other users as well.
            users: QuerySet[Any] = QuerySet(get_user_model(), query=self.rows.query.chain(), using=self.using)
            yield self._narrow(users.order_by())
        elif self.rows is not None:
            yield self._narrow(self._users().filter(pk__in=self.rows))
        for keys in self.chunks:
            yield self._narrow(self._users().filter(pk__in=keys))

    def few(self) -> list[Any]:
        """Return the keys of named recipients if they are few, else an empty list."""
        return self.named if self.named and len(self.named) <= _FEW else []

    def compilable(self) -> CompilableAudience | None:
        """Return the audience as a shape with values and querysets.

        None if the statement must be compiled each time: for very many keys, for querysets on several databases, and
        if ``NOTIFY_MEMBERS`` returns a list.
        """
        members, querysets, values = self.members, {}, {}
        recipients: Literal["condition", "subquery"] | int
        if members is not None:
            # A queryset without a database of its own runs on that of the statement.
            if not isinstance(members, QuerySet) or getattr(members, "_db", None) not in (None, self.using):
                return None
            querysets["members"] = members
        if self.rows is not None:
            querysets["to"] = self.rows
            recipients = "condition" if self.is_condition else "subquery"
        elif self.named and len(self.named) <= _MAX_COMPILED_KEYS and len(self.chunks) == 1:
            values = {_recipient(number): key for number, key in enumerate(pad(self.named))}
            recipients = len(values)
        else:
            return None
        return CompilableAudience(AudienceShape(get_user_model(), recipients, members is not None), values, querysets)

    def non_members(self) -> list[Any]:
        """Return named recipients who exist but are not members of the organization; at most ten for each query."""
        keys: list[Any] = []
        if self.members is not None and self.named:
            for chunk in self.chunks:
                users = self._users().filter(pk__in=chunk).exclude(pk__in=self.members)
                keys += users.values_list("pk", flat=True)[:10]
        return keys

    def _users(self) -> QuerySet[Any]:
        return get_user_model()._base_manager.using(self.using).order_by()

    def _narrow(self, users: QuerySet[Any]) -> QuerySet[Any]:
        users = accounts.active(users)
        return users if self.members is None else users.filter(pk__in=self.members)

    def _take_queryset(self, to: QuerySet[Any]) -> None:
        if not issubclass(to.model, get_user_model()):
            raise TypeError(
                f"to= takes a queryset of {get_user_model()._meta.label}; got one of {to.model._meta.label}."
            )
        # Not every queryset can be a subquery on every database: MariaDB allows no LIMIT in one.
        limited = to.query.is_sliced and not connections[self.using].features.allow_sliced_subqueries_with_in
        if to.db == self.using and not limited and not to.query.combinator:
            self.is_condition = _is_condition(to)
            self.rows = to if self.is_condition else (to if to.query.is_sliced else to.order_by()).values("pk")
            return
        self.chunks = list(_chunks(list(dict.fromkeys(to.values_list("pk", flat=True))), self.using))


def _is_condition(rows: QuerySet[Any]) -> bool:
    """Return whether the queryset is a condition on the user table alone that selects each row once."""
    query, options = rows.query, get_user_model()._meta
    # The condition's columns are written with the table's own name.
    if rows.model._meta.concrete_model is not options.concrete_model:
        return False
    if not {options.db_table}.issuperset(query.alias_map):
        return False
    extras = (query.is_sliced, query.distinct, query.combinator, query.group_by, query.annotations, query.extra_tables)
    # A condition on a window function is not a condition on single rows.
    return not any(extras) and not (query.where.contains_over_clause or query.select_for_update or query.extra)


def _parse_keys(to: Any) -> list[Any]:
    model = get_user_model()
    if isinstance(to, Model | str | bytes) or not isinstance(to, Iterable):
        to = [to]
    keys: dict[Any, None] = {}
    for recipient in to:
        if isinstance(recipient, Model) and not isinstance(recipient, model):
            raise TypeError(f"to= takes users ({model._meta.label}) or their keys; got {recipient!r}.")
        key = recipient.pk if isinstance(recipient, Model) else recipient
        try:
            keys[_parse_key(model, key)] = None
        except (ValidationError, TypeError, ValueError):
            raise TypeError(f"to= takes users ({model._meta.label}) or their keys; got {recipient!r}.") from None
    return list(keys)


def _recipient(number: int) -> str:
    """Return the name of the placeholder for a named recipient."""
    return f"recipient {number}"


def _key_field(model: Any) -> Any:
    """Return the field that gives the primary key its type, following foreign keys."""
    field = model._meta.pk
    while field.remote_field:
        field = field.target_field
    return field


def _parse_key(model: Any, value: Any) -> Any:
    field = _key_field(model)
    key = field.to_python(value)
    if key is None or isinstance(value, bool | float):
        raise ValueError("No key.")
    field.run_validators(key)  # SQLite's driver raises OverflowError for integers that no column can hold
    return key


def _chunks(keys: list[Any], using: str) -> Iterator[list[Any]]:
    size = _max_parameters(using)
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _max_parameters(using: str) -> int:
    """Return how many keys a statement can name, with room for its other parameters."""
    connection = connections[using]
    if connection.vendor != "sqlite":
        return 30_000
    connection.ensure_connection()
    limit: int = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    return max(limit - 200, 100)
