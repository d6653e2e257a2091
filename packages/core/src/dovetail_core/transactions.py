"""Services that other requests race: locks in one order, and a second attempt for the loser of a conflict.

Locks are taken in one order, parents before children; the order of the Dovetail packages is::

    organization → user → membership, invitation, API key → the project's rows, parents first → session, notification

Deleting a parent takes its lock with ``deleting=True`` before the first child is read. A service that locks a child and
then writes a row with a foreign key to a parent takes ``lock_shared()`` on the parent first: PostgreSQL checks foreign
keys when the transaction commits, which waits for the parent at a time when the child is locked already.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, IntegrityError, OperationalError, connections, router
from django.db.models import BooleanField, F, Model, QuerySet, Subquery
from django.views.decorators.debug import sensitive_variables

from dovetail_core.sql import CompiledQuery, Placeholder, bind, is_plain, once

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=Model)

# PostgreSQL: serialization failure, deadlock, lock timeout.
_POSTGRESQL_CONFLICTS = {"40001", "40P01", "55P03"}
_POSTGRESQL_FOREIGN_KEY = "23503"
# MariaDB and MySQL: row changed since the snapshot, lock wait timeout, deadlock.
_MYSQL_CONFLICTS = {1020, 1205, 1213}
# The parent does not exist, or is referred to; each with and without the name of the constraint.
_MYSQL_NO_PARENT, _MYSQL_REFERRED_TO = {1216, 1452}, {1217, 1451}
_SQLITE_CONFLICTS = ("database is locked", "database table is locked")
_SQLITE_FOREIGN_KEY = "FOREIGN KEY constraint failed"
# The ORM has no such lock; select_for_update() would make all writers of an organization wait for each other.
_SHARED = {"postgresql": "FOR KEY SHARE", "mysql": "LOCK IN SHARE MODE"}
# In all languages of PostgreSQL's messages.
_QUOTATION_MARK = re.compile('["«»„“”]')


class Vanished(Exception):
    """A row that the change needs was deleted by another request."""


def retry_on_conflict(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a service, which is one transaction, to run a second time if a parallel transaction made it fail.

    Such failures are a deadlock, a serialization failure, a lock timeout, a violated foreign key (to a row that was
    deleted meanwhile, or from a row that was created), and ``DoesNotExist`` for a row that a query has just returned.
    The second attempt reads what the other transaction committed. If it fails too, the error propagates; a foreign key
    to a deleted row and a ``save(update_fields=…)`` that changed no row as ``Vanished``. The deletion of a row that
    another table refers to remains an ``IntegrityError``, except on SQLite, which does not tell the two apart.

    Inside another transaction the service runs once, because only the whole transaction can be repeated. Receivers of
    events run again, and their writes of the first attempt are rolled back. Effects outside the database belong in
    ``transaction.on_commit()`` or before the decorated function.
    """

    # Error reports show the variables of every frame, and the arguments may be passwords and tokens. Without names,
    # Django would also hide the variables of all functions that the service calls.
    @functools.wraps(function)
    @sensitive_variables("args", "kwargs")
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if any(connection.in_atomic_block for connection in connections.all(initialized_only=True)):
            return _attempt(function, *args, **kwargs)
        try:
            return function(*args, **kwargs)
        except DatabaseError as error:
            if not (is_conflict(error) or _is_vanished(error) or _is_referred_to(error)):
                raise
        except (ObjectDoesNotExist, Vanished):
            pass
        return _attempt(function, *args, **kwargs)

    return run


def is_conflict(error: BaseException) -> bool:
    """Return whether the database ended a transaction in favor of a parallel one, so that it may succeed now."""
    if not isinstance(error, OperationalError):
        return False
    number = error.args[0] if error.args else None
    return (
        _sqlstate(error) in _POSTGRESQL_CONFLICTS
        or number in _MYSQL_CONFLICTS
        or any(text in str(error) for text in _SQLITE_CONFLICTS)
    )


def is_foreign_key_violation(error: BaseException) -> bool:
    """Return whether a row refers to a row that does not exist.

    On SQLite, this is also true if a row was deleted that another row refers to.
    """
    if not isinstance(error, IntegrityError):
        return False
    number = error.args[0] if error.args else None
    violated = _sqlstate(error) == _POSTGRESQL_FOREIGN_KEY and not _is_referred_to(error)
    return violated or number in _MYSQL_NO_PARENT or str(error) == _SQLITE_FOREIGN_KEY


def lock(rows: QuerySet[M], *, deleting: bool = False, parents: Sequence[QuerySet[Any]] = ()) -> M:
    """Lock the row of a queryset until the transaction ends, and return it as it is now. Raise ``Vanished``.

    ``deleting`` also stops the creation of rows that refer to it: a row that is created after its parent's children
    were read would make the deletion of the parent fail. ``parents`` get ``lock_shared()`` before, in their order.
    """
    rows = _after_parents(_writable(rows), parents)
    features = connections[rows.db].features
    if features.has_select_for_update:
        # NO KEY: an INSERT of a child checks its foreign key, and need not wait for a change of its parent.
        rows = rows.select_for_update(no_key=not deleting and features.has_select_for_no_key_update)
    elif not _write_nothing(rows):
        raise Vanished(rows.model._meta.label)
    if (row := rows.first()) is None:
        raise _vanished(rows, parents)
    return row


def lock_shared(rows: QuerySet[M], *, parents: Sequence[QuerySet[Any]] = ()) -> None:
    """Prevent the deletion of the row of a queryset until the transaction ends. Raise ``Vanished`` if it is deleted.

    Any number of transactions can hold this lock at the same time. It is the one that the check of a foreign key takes.
    ``parents`` are locked in the same way before, in their order.
    """
    rows = _after_parents(_writable(rows), parents)
    connection = connections[rows.db]
    suffix = _SHARED.get(connection.vendor)
    if suffix is None:
        exists = bool(_write_nothing(rows))
    else:
        sql, params = rows.order_by().values("pk").query.get_compiler(rows.db).as_sql()
        with connection.cursor() as cursor:
            cursor.execute(f"{sql} {suffix}", params)
            exists = cursor.fetchone() is not None
    if not exists:
        raise _vanished(rows, parents)


def lock_shared_by_key(model: type[Model], key: object, *, using: str | None = None) -> None:
    """``lock_shared()`` for the row with a primary key, without building a query each time.

    For services that are called often: to build the query takes longer than to send it. ``using`` is by default the
    database that a router names for writing.
    """
    using = using or router.db_for_write(model)
    connection = connections[using]
    suffix = _SHARED.get(connection.vendor)
    query = once(_compile_key, model, using=using) if suffix else None
    if query is None:
        lock_shared(model._base_manager.using(using).filter(pk=key))
        return
    with connection.cursor() as cursor:
        cursor.execute(f"{query.sql} {suffix}", bind(query.parameters, {"pk": key}, connection))
        if cursor.fetchone() is None:
            raise Vanished(model._meta.label)


def _compile_key(model: type[Model], using: str) -> CompiledQuery | None:
    """Compile the query for a row, or return None if the ORM must build it each time."""
    # A project's own manager may select other rows for each tenant.
    if not is_plain(model._base_manager):
        return None
    rows = model._base_manager.using(using).filter(pk=Placeholder("pk", model._meta.pk))
    return CompiledQuery(rows.order_by().values("pk"), using=using, unqualified=True)


class _LockedShared(Subquery):
    """Whether the row of a subquery exists, which is locked like ``lock_shared()`` does it."""

    template = "(%(subquery)s FOR KEY SHARE) IS NOT NULL"
    output_field = BooleanField()


def _after_parents(rows: QuerySet[M], parents: Sequence[QuerySet[Any]]) -> QuerySet[M]:
    """Lock the parents, or return a queryset whose condition locks them.

    A database evaluates the condition before it locks the rows that meet it. Nested, the conditions keep the order of
    several parents.
    """
    if connections[rows.db].vendor != "postgresql":
        for parent in parents:
            lock_shared(parent)
        return rows
    condition: list[_LockedShared] = []
    for parent in parents:
        condition = [_LockedShared(_writable(parent).filter(*condition).order_by().values("pk"))]
    return rows.filter(*condition)


def _vanished(rows: QuerySet[Any], parents: Sequence[QuerySet[Any]]) -> Vanished:
    """Return the exception for the row, or raise that of the first parent that vanished."""
    for parent in parents:
        lock_shared(parent)
    return Vanished(rows.model._meta.label)


@sensitive_variables("args", "kwargs")
def _attempt(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    try:
        return function(*args, **kwargs)
    except DatabaseError as error:
        if _is_vanished(error):
            raise Vanished(str(error)) from error
        raise


def _is_vanished(error: DatabaseError) -> bool:
    # NotUpdated has no class of its own before Django 6.0.
    return is_foreign_key_violation(error) or str(error).endswith("did not affect any rows.")


def _is_referred_to(error: DatabaseError) -> bool:
    """Return whether a row that another row refers to was deleted or got another key."""
    if not isinstance(error, IntegrityError):
        return False
    if _sqlstate(error) != _POSTGRESQL_FOREIGN_KEY:
        return bool(error.args) and error.args[0] in _MYSQL_REFERRED_TO
    # PostgreSQL has one code and the same fields for both errors. This one names two tables and the constraint, the
    # other one table and the constraint: insert or update on table "a" violates foreign key constraint "b".
    message = getattr(getattr(error.__cause__, "diag", None), "message_primary", None) or ""
    return len(_QUOTATION_MARK.findall(message)) > 4


def _writable(rows: QuerySet[M]) -> QuerySet[M]:
    # A lock on a replica, which a router may name for reading, locks nothing.
    private: Any = rows  # the stubs have no private attributes
    return rows.using(private._db or router.db_for_write(rows.model, **private._hints))


def _write_nothing(rows: QuerySet[M]) -> int:
    # SQLite locks the database at the first write. After a read, a second writer would fail instead of waiting.
    name = rows.model._meta.pk.name
    return rows.order_by().update(**{name: F(name)})


def _sqlstate(error: BaseException) -> str | None:
    state: str | None = getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None)
    return state
