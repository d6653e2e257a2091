"""Recipients, however they are named, as querysets of users for the database to read by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import F, Model, Q, QuerySet

from dovetail_notify.conf import conf
from dovetail_notify.insertion import Given
from dovetail_notify.kept import Place, padded

#: So many are few: what they chose is looked at before.
_FEW: Final = 64
#: For up to so many that are named SQL is kept.
_KEPT: Final = 512


class ForeignRecipient(ValueError):
    """A recipient that was named is not of the organization."""

    def __init__(self, keys: Iterable[Any]) -> None:
        super().__init__(f"Not of the organization that the notification is about: {', '.join(map(str, keys))}.")


@dataclass(frozen=True, slots=True)
class Placed:
    """An audience as a queryset of places and conditions; its ``shape`` is what the queryset depends on."""

    shape: Hashable
    users: Callable[[], QuerySet[Any]]
    values: Mapping[str, Any]
    sets: Mapping[str, QuerySet[Any]]


class Audience:
    """The users in ``to``; ``named`` are the keys of those that the caller chose one by one."""

    def __init__(self, to: Any, *, organization_key: str | None, using: str) -> None:
        self.using = using
        self.members = conf.MEMBERS(organization_key) if conf.MEMBERS and organization_key else None
        self.named: list[Any] | None = None
        #: What ``to`` is, where a statement can read it by itself, and whether as it is or as a subquery.
        self.rows: QuerySet[Any] | None = None
        self.plain = False
        self.chunks: list[list[Any]] = []
        if isinstance(to, QuerySet):
            self._take_queryset(to)
        else:
            self.named = _keys(to)
            self.chunks = list(_chunks(self.named, using))

    def querysets(self) -> Iterator[QuerySet[Any]]:
        """Active users, of the organization where there is one; several only where a database takes no more at once."""
        if self.plain and self.rows is not None:
            # The same set without a subquery, for which PostgreSQL reads all users there are beside those in it.
            yield self._narrowed(QuerySet(get_user_model(), query=self.rows.query.chain(), using=self.using).order_by())
        elif self.rows is not None:
            yield self._narrowed(self._users().filter(pk__in=self.rows))
        for keys in self.chunks:
            yield self._narrowed(self._users().filter(pk__in=keys))

    def few(self) -> list[Any]:
        """The keys of those who were named, where they are few."""
        return self.named if self.named and len(self.named) <= _FEW else []

    def placed(self) -> Placed | None:
        """The same as one queryset with places for what differs from call to call; None where it has to be made each
        time: for very many keys, for several databases, and for a list of the organization's people."""
        members, sets, values = self.members, {}, {}
        condition: Any
        kind: Hashable
        if members is not None:
            # One of no database is of whichever asks.
            if not isinstance(members, QuerySet) or getattr(members, "_db", None) not in (None, self.using):
                return None
            sets["members"] = members
        if self.rows is not None:
            sets["to"] = self.rows
            kind = "plain" if self.plain else "subquery"
            condition = Given("to") if self.plain else Given("to", F("pk"))
        elif self.named and len(self.named) <= _KEPT and len(self.chunks) == 1:
            values = {f"recipient {number}": key for number, key in enumerate(padded(self.named))}
            kind = len(values)
            field = _target(get_user_model())
            condition = Q(pk__in=[Place(name, field) for name in values])
        else:
            return None

        def users() -> QuerySet[Any]:
            found = self._active(self._users().filter(condition))
            return found if members is None else found.filter(Given("members", F("pk")))

        return Placed((kind, members is None), users, values, sets)

    def foreign(self) -> list[Any]:
        """Those who were named and are users, but not of the organization."""
        found: list[Any] = []
        if self.members is not None and self.named:
            for keys in self.chunks:
                strangers = self._users().filter(pk__in=keys).exclude(pk__in=self.members)
                found += strangers.values_list("pk", flat=True)[:10]
        return found

    def _users(self) -> QuerySet[Any]:
        return get_user_model()._base_manager.using(self.using).order_by()

    def _narrowed(self, users: QuerySet[Any]) -> QuerySet[Any]:
        users = self._active(users)
        return users if self.members is None else users.filter(pk__in=self.members)

    def _active(self, users: QuerySet[Any]) -> QuerySet[Any]:
        has_it = any(field.name == "is_active" for field in get_user_model()._meta.concrete_fields)
        return users.filter(is_active=True) if has_it else users

    def _take_queryset(self, to: QuerySet[Any]) -> None:
        if not issubclass(to.model, get_user_model()):
            raise TypeError(
                f"to= takes a queryset of {get_user_model()._meta.label}; got one of {to.model._meta.label}."
            )
        # Each is what a subquery cannot be, or cannot be everywhere: MariaDB takes no LIMIT in one.
        limited = to.query.is_sliced and not connections[self.using].features.allow_sliced_subqueries_with_in
        if to.db == self.using and not limited and not to.query.combinator:
            self.plain = _is_a_condition(to)
            self.rows = to if self.plain else (to if to.query.is_sliced else to.order_by()).values("pk")
            return
        self.chunks = list(_chunks(list(dict.fromkeys(to.values_list("pk", flat=True))), self.using))


def _is_a_condition(rows: QuerySet[Any]) -> bool:
    """Whether the rows are of the users' own table, each once, and chosen by a condition on it alone."""
    query, own = rows.query, get_user_model()._meta
    # By the table's own name, which the condition's columns are written with.
    if rows.model._meta.concrete_model is not own.concrete_model or not {own.db_table}.issuperset(query.alias_map):
        return False
    more = (query.is_sliced, query.distinct, query.combinator, query.group_by, query.annotations, query.extra_tables)
    # A condition on a window's function is not one of its rows.
    return not any(more) and not (query.where.contains_over_clause or query.select_for_update or query.extra)


def _keys(to: Any) -> list[Any]:
    model = get_user_model()
    if isinstance(to, Model | str | bytes) or not isinstance(to, Iterable):
        to = [to]
    found: dict[Any, None] = {}
    for each in to:
        if isinstance(each, Model) and not isinstance(each, model):
            raise TypeError(f"to= takes users ({model._meta.label}) or their keys; got {each!r}.")
        key = each.pk if isinstance(each, Model) else each
        try:
            found[_key(model, key)] = None
        except (ValidationError, TypeError, ValueError):
            raise TypeError(f"to= takes users ({model._meta.label}) or their keys; got {each!r}.") from None
    return list(found)


def _target(model: Any) -> Any:
    """The field that a key has its type of."""
    key = model._meta.pk
    while key.remote_field:
        key = key.target_field
    return key


def _key(model: Any, value: Any) -> Any:
    key = _target(model)
    parsed = key.to_python(value)
    if parsed is None or isinstance(value, bool | float):
        raise ValueError("No key.")
    key.run_validators(parsed)  # of integers too: SQLite's driver fails on what no column holds
    return parsed


def _chunks(keys: list[Any], using: str) -> Iterator[list[Any]]:
    size = _parameters(using)
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _parameters(using: str) -> int:
    """How many keys one statement may name, with room for what else is in it."""
    connection = connections[using]
    if connection.vendor != "sqlite":
        return 30_000
    connection.ensure_connection()
    limit: int = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    return max(limit - 200, 100)
