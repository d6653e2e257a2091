"""The values with which a tracked instance was loaded or last saved, also after a rollback."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, Final

from django.db import connections, transaction
from django.db.models import Model

_LOADED: Final = "_dovetail_audit_loaded"
_SAVES: Final = "_dovetail_audit_saves"


class _Outcome:
    """Whether a transaction was committed. Django drops the callbacks of a transaction or savepoint on its rollback."""

    def __init__(self, using: str) -> None:
        self.is_committed = False
        callback = _Callback(self)
        transaction.on_commit(callback, using=using)
        # Weak: after a rollback nothing refers to the callback. To search the connection's callbacks would take
        # quadratic time in a transaction with many saves.
        self._callback: weakref.ref[_Callback] | None = weakref.ref(callback)

    def is_rolled_back(self) -> bool:
        return not self.is_committed and self._callback is not None and self._callback() is None

    def __deepcopy__(self, memo: object) -> _Outcome:
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Instances are pickled into caches and other processes, which cannot see the end of the transaction.
        return {"is_committed": True, "_callback": None}


class _Callback:
    __slots__ = ("__weakref__", "_outcome")

    def __init__(self, outcome: _Outcome) -> None:
        self._outcome = outcome

    def __call__(self) -> None:
        self._outcome.is_committed = True


#: Saves in open transactions: outcome, alias with savepoints, and the values before. The newest is the last.
_Saves = tuple[tuple[_Outcome, tuple[str, ...], dict[str, Any]], ...]


def loaded_values(instance: Model) -> dict[str, Any]:
    """Return the values of the row, as far as they are known: those of saves that were rolled back do not count."""
    state = vars(instance)
    saves: _Saves = state.get(_SAVES, ())
    # A rollback ends the later saves too, so the newest are checked first.
    while saves and saves[-1][0].is_rolled_back():
        *earlier, (_, _, state[_LOADED]) = saves
        saves = tuple(earlier)
    state[_SAVES] = () if saves and saves[-1][0].is_committed else saves
    values: dict[str, Any] = state.get(_LOADED, {})
    return values


def set_loaded_values(instance: Model, values: Mapping[str, Any]) -> None:
    """Set values that were read from the database."""
    vars(instance)[_LOADED] = {**loaded_values(instance), **values}


def set_saved_values(instance: Model, values: Mapping[str, Any], *, using: str) -> None:
    """Set values that were written, which :func:`loaded_values` returns unless their transaction is rolled back."""
    before, connection = loaded_values(instance), connections[using]
    if connection.in_atomic_block:
        # A tuple, which copies of the instance can share.
        saves: _Saves = vars(instance)[_SAVES]
        place = (using, *connection.savepoint_ids)
        # Saves within the same savepoint are rolled back together.
        if not saves or saves[-1][1] != place:
            vars(instance)[_SAVES] = (*saves, (_Outcome(using), place, before))
    vars(instance)[_LOADED] = {**before, **values}
