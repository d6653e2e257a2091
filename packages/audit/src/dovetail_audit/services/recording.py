"""The functions that write entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from itertools import islice
from types import TracebackType
from typing import Any, Self

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest

from dovetail_audit.entries import databases
from dovetail_audit.entries.building import build, outcome_of
from dovetail_audit.entries.writing import BATCH, insert, write
from dovetail_audit.exceptions import IntentNotDurable
from dovetail_audit.models import Entry


def record(
    action: str,
    *,
    target: object = None,
    outcome: str = "success",
    actor: object = None,
    organization_id: object = None,
    parameters: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    personal: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    status: int | None = None,
    problem: str = "",
    request: HttpRequest | None = None,
    using: str | None = None,
) -> Entry:
    """Write one entry with one statement, in the current transaction of ``using``.

    ``action`` is lower-case words separated by dots: ``"api_key.revoked"``. ``target`` is a model instance, a pair of
    kind and key, or a key. ``actor`` (a user or another principal), ``organization_id`` and ``request`` default to
    those of the context. ``changes`` maps fields to ``[before, after]`` (see ``diff``). ``personal`` holds values that
    an erasure removes. ``problem`` is an error code. Secrets are removed from all of them.

    Raises ``ValueError`` for an action, outcome or status that is not allowed, and ``DatabaseError`` unless
    ``AUDIT_ON_FAILURE`` is ``"log"``.
    """
    arguments = {name: value for name, value in locals().items() if name not in {"action", "using"}}
    entry = build(action, **arguments)
    write([entry], using=using)
    return entry


async def arecord(action: str, **arguments: Any) -> Entry:
    """Write one entry as :func:`record` does."""
    return await sync_to_async(record)(action, **arguments)


def record_many(records: Iterable[Mapping[str, Any]], *, using: str | None = None) -> int:
    """Write many entries with one statement for each 500, and return their number.

    Each mapping holds the arguments of :func:`record`, with ``action``.
    """
    entries, number = (build(**arguments) for arguments in records), 0
    while batch := list(islice(entries, BATCH)):
        write(batch, using=using)
        number += len(batch)
    return number


class attempt(AbstractContextManager["attempt"], AbstractAsyncContextManager["attempt"]):  # noqa: N801  # a verb
    """A dangerous action, recorded before it begins and after it ends: ``with attempt("backup.restored"): …``.

    The intent is committed before the block runs, so a crash cannot hide it: ``audit_verify`` lists intents without an
    outcome. The outcome is written after the block: ``success``, ``denied`` for a refusal, or ``failed``. To write it
    within the transaction of the action, call :meth:`succeeded` there.

    Takes the arguments of ``record()``, without ``outcome``. Raises ``IntentNotDurable`` in a transaction, unless
    ``AUDIT_ALIAS`` names a connection of its own.
    """

    def __init__(self, action: str, **arguments: Any) -> None:
        self.action = action
        self.arguments = arguments
        self.intent: Entry | None = None
        self._is_done = False

    def __enter__(self) -> Self:
        alias = databases.home()
        _require_durability(alias)
        self.intent = build(self.action, outcome="intent", **self.arguments)
        insert([self.intent], using=alias)
        return self

    def succeeded(self, *, using: str | None = None, **arguments: Any) -> Entry:
        """Write the outcome now, with more arguments of ``record()``, in the transaction of ``using``."""
        return self._record(using, {"outcome": "success", **arguments})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Also after a success that was rolled back with the transaction in which it was recorded.
        if error is not None or not self._is_done:
            outcome = outcome_of(error)
            problem = "" if outcome == "success" else type(error).__name__
            self._record(databases.home(), {"outcome": outcome, "problem": problem})

    async def __aenter__(self) -> Self:
        return await sync_to_async(self.__enter__)()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await sync_to_async(self.__exit__)(kind, error, traceback)

    def _record(self, using: str | None, arguments: Mapping[str, Any]) -> Entry:
        if self.intent is None:
            raise RuntimeError("Enter the block first: with attempt(…) as action.")
        entry = build(self.action, **{**self.arguments, **arguments, "intent": self.intent.pk})
        write([entry], using=using)
        self._is_done = True
        return entry


def _require_durability(alias: str) -> None:
    connection: Any = connections[alias]  # the stubs have no atomic_blocks
    # Django's TestCase opens a transaction around each test, which durable blocks ignore too.
    blocks = [block for block in connection.atomic_blocks if not block._from_testcase]
    if blocks or (not connection.atomic_blocks and not connection.get_autocommit()):
        raise IntentNotDurable(
            f"attempt() was called in a transaction on {alias!r}, whose rollback would remove the intent. Call it "
            "before the transaction, or set AUDIT_ALIAS to a second alias of the same database."
        )
