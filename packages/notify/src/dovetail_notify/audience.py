"""Recipients, however they are named, as querysets of users for the database to read by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import F, Model, QuerySet
from django.db.models.sql import Query

from dovetail_notify.conf import conf
from dovetail_notify.insertion import Among
from dovetail_notify.kept import Place

#: So many are few: their choices are looked at before, and the SQL for each number is kept.
_FEW: Final = 8


class ForeignRecipient(ValueError):
    """A recipient that was named is not of the organization."""

    def __init__(self, keys: Iterable[Any]) -> None:
        super().__init__(f"Not of the organization that the notification is about: {', '.join(map(str, keys))}.")


class Audience:
    """The users in ``to``; ``named`` are the keys of those that the caller chose one by one."""

    def __init__(self, to: Any, *, organization_key: str | None, using: str) -> None:
        self.using = using
        self.members = conf.MEMBERS(organization_key) if conf.MEMBERS and organization_key else None
        self.named: list[Any] | None = None
        self.rows: QuerySet[Any] | None = None
        self.chunks: list[list[Any]] = []
        if isinstance(to, QuerySet):
            self._take_queryset(to)
        else:
            self.named = _keys(to)
            self.chunks = list(_chunks(self.named, using))

    def querysets(self) -> Iterator[QuerySet[Any]]:
        """Active users, of the organization where there is one; several only where a database takes no more at once."""
        if self.rows is not None:
            yield self._narrowed(self.rows)
        for keys in self.chunks:
            yield self._narrowed(self._users().filter(pk__in=keys))

    def few(self) -> dict[str, Any]:
        """The keys of those who were named, by names for ``placed``; none where they are many, or where the database
        cannot say by itself who of them is of the organization, or which rows it has made of them."""
        if not connections[self.using].features.can_return_rows_from_bulk_insert:
            return {}
        members = self.members
        # One of no database is of whichever asks.
        here = isinstance(members, QuerySet) and getattr(members, "_db", None) in (None, self.using)
        if not (members is None or here) or self.named is None or len(self.named) > _FEW:
            return {}
        return {f"recipient {number}": key for number, key in enumerate(self.named)}

    def placed(self, names: Iterable[str]) -> QuerySet[Any]:
        """The queryset of the few, with places of those names for their keys, and one for the organization's people."""
        key = _target(get_user_model())
        users = self._active(self._users().filter(pk__in=[Place(name, key) for name in names]))
        return users if self.members is None else users.filter(Among(F("pk")))

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
            if _is_of_one_table(to.query):
                # The same set without a subquery, for which PostgreSQL reads all users there are beside those in it.
                self.rows = QuerySet(get_user_model(), query=to.query.chain(), using=self.using).order_by()
            else:
                self.rows = self._users().filter(pk__in=(to if to.query.is_sliced else to.order_by()).values("pk"))
            return
        self.chunks = list(_chunks(list(dict.fromkeys(to.values_list("pk", flat=True))), self.using))


def _is_of_one_table(query: Query) -> bool:
    """Whether the rows are of the users' table, each once, and chosen by a condition: to which others can be added."""
    more = (query.is_sliced, query.distinct, query.combinator, query.group_by, query.annotations, query.extra_tables)
    return len(query.alias_map) <= 1 and not any(more) and not query.select_for_update and not query.extra


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
