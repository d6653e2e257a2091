"""The recipients of a notification as querysets of users, so that the database needs no list of keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Hashable, Iterable, Iterator
from functools import partial
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import F, Field, Model, QuerySet

from dovetail_core import accounts
from dovetail_core.sql import Placeholder, pad
from dovetail_notify.conf import conf
from dovetail_notify.sql import QuerySetPlaceholder, QuerySets, Values

#: A user or the key of one.
Recipient: TypeAlias = Model | int | str | UUID
Recipients: TypeAlias = Recipient | Iterable[Recipient] | QuerySet[Any, Any]

#: Up to this many named recipients, a statement first assumes that they have no preferences.
_FEW: Final = 64
#: Up to this many named recipients, the statement is compiled once.
_MAX_COMPILED_KEYS: Final = 512


class AudienceShape(NamedTuple):
    """Everything that the SQL of an audience depends on, apart from the values and querysets that have placeholders."""

    model: type[Model]
    has_members: bool
    #: The number of named recipients, or how the statement reads a queryset of recipients.
    recipients: int | Literal["condition", "keys", "subquery"]

    def users(self, using: str) -> QuerySet[Any]:
        """Return the active users with placeholders for the recipients and the organization's members."""
        users = self.model._base_manager.using(using).order_by()
        if isinstance(self.recipients, int):
            users = users.filter(pk__in=self.keys())
        elif self.recipients == "subquery":
            users = users.filter(QuerySetPlaceholder("to", F("pk")))
        else:
            # A project's condition applies without the filter of the base manager.
            users = QuerySet(self.model, using=using).order_by() if self.recipients == "condition" else users
            users = users.filter(QuerySetPlaceholder("to"))
        users = accounts.active(users)
        return users.filter(QuerySetPlaceholder("members", F("pk"))) if self.has_members else users

    def keys(self) -> list[Placeholder]:
        """Return the placeholders of the named recipients, if the shape has any."""
        field, number = _key_field(self.model), self.recipients if isinstance(self.recipients, int) else 0
        return [Placeholder(_recipient(index), field) for index in range(number)]


class Audience:
    """The users in ``to``. ``named`` are their keys if the caller named them one by one, and None for a queryset."""

    def __init__(self, to: Recipients, *, organization_key: str | None, using: str) -> None:
        self.using = using
        self.model = get_user_model()
        members = conf.MEMBERS(organization_key) if organization_key and conf.MEMBERS else None
        # A queryset without a database runs on that of the statement.
        if members is not None and (
            not isinstance(members, QuerySet) or getattr(members, "_db", None) not in (None, using)
        ):
            members = QuerySet(self.model, using=using).filter(pk__in=members)
        self.members: QuerySet[Any] | None = members
        self.named: list[Hashable] | None = None
        self.chunks: list[list[Any]] = []
        #: ``to`` if a statement can read it as a condition on the user table or as a subquery.
        self.rows: QuerySet[Any] | None = None
        # MariaDB allows no LIMIT in a subquery.
        can_slice = connections[using].features.allow_sliced_subqueries_with_in
        if not isinstance(to, QuerySet):
            self.named = _parse_keys(to)
            self.chunks = [self.named] if 0 < len(self.named) <= _FEW else _chunks(self.named, using)
        elif not issubclass(to.model, self.model):
            expected, actual = self.model._meta.label, to.model._meta.label
            raise TypeError(f"to= takes a queryset of {expected}; got one of {actual}.")
        elif to.db == using and not to.query.combinator and (can_slice or not to.query.is_sliced):
            self.rows = to
        else:
            self.chunks = _chunks(list(dict.fromkeys(to.values_list("pk", flat=True))), using)

    @property
    def has_few_keys(self) -> bool:
        """Whether the recipients are named, and few enough to look up their preferences in the same statement."""
        return 0 < len(self.named or ()) <= _FEW

    def parts(self) -> Iterator[tuple[AudienceShape, Values, QuerySets]]:
        """Yield the shape of each statement and what fills its placeholders. Only very many keys need several."""
        querysets = {} if self.members is None else {"members": self.members}
        shape = partial(AudienceShape, self.model, self.members is not None)
        if self.rows is not None and _is_condition(self.rows):
            # Without a subquery, for which PostgreSQL reads all other users as well.
            yield shape("condition"), {}, querysets | {"to": self.rows}
        elif self.rows is not None:
            rows = self.rows if self.rows.query.is_sliced else self.rows.order_by()
            yield shape("subquery"), {}, querysets | {"to": rows.values("pk")}
        elif self.named and len(self.named) <= _MAX_COMPILED_KEYS and len(self.chunks) == 1:
            values = {_recipient(number): key for number, key in enumerate(pad(self.named))}
            yield shape(len(values)), values, querysets
        else:
            for keys in self.chunks:
                yield shape("keys"), {}, querysets | {"to": QuerySet(self.model).filter(pk__in=keys)}

    def non_members(self) -> list[Hashable]:
        """Return named users who are not members of the organization, at most ten for each query."""
        keys: list[Hashable] = []
        if self.members is not None and self.named:
            for chunk in self.chunks:
                users = self.model._base_manager.using(self.using).order_by().filter(pk__in=chunk)
                keys += users.exclude(pk__in=self.members).values_list("pk", flat=True)[:10]
        return keys


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


def _parse_keys(to: Recipient | Iterable[Recipient]) -> list[Hashable]:
    """Return the keys of the recipients, each once. Raise ``TypeError`` for anything but users and keys."""
    model = get_user_model()
    field = _key_field(model)
    keys: dict[Hashable, None] = {}
    for recipient in [to] if isinstance(to, Model | str | bytes) or not isinstance(to, Iterable) else to:
        key = recipient.pk if isinstance(recipient, model) else recipient
        try:
            if isinstance(key, Model | bool | float) or (key := field.to_python(key)) is None:
                raise ValueError("not a key")
            field.run_validators(key)  # SQLite's driver raises OverflowError for integers that no column can hold
        except (ValidationError, TypeError, ValueError):
            raise TypeError(f"to= takes users ({model._meta.label}) or their keys; got {recipient!r}.") from None
        keys[key] = None
    return list(keys)


def _recipient(number: int) -> str:
    return f"recipient {number}"


def _key_field(model: type[Model]) -> Field[Any, Any]:
    """Return the field that gives the primary key its type, following foreign keys."""
    field: Any = model._meta.pk
    while field.remote_field:
        field = field.target_field
    return field  # type: ignore[no-any-return]  # the stubs do not type target_field


def _chunks(keys: list[Any], using: str) -> list[list[Any]]:
    size = _max_parameters(using)
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def _max_parameters(using: str) -> int:
    """Return how many keys a statement can name, with room for its other parameters."""
    connection = connections[using]
    if connection.vendor != "sqlite":
        return 30_000
    connection.ensure_connection()
    limit: int = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    return max(limit - 200, 100)
