"""The default provider: flags in the project's database, held in memory and read again when their token changes."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from time import monotonic
from typing import Any, ClassVar, Final

from asgiref.sync import sync_to_async
from django.db import connections, router, transaction
from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils import timezone

from dovetail_flags.base import get_flag_model
from dovetail_flags.conf import conf
from dovetail_flags.models import FlagSet
from dovetail_flags.providers import changes
from dovetail_flags.providers.base import Provider, View
from dovetail_flags.rules.answers import Answers
from dovetail_flags.rules.compile import INVALID, CompiledFlag, invalid
from dovetail_flags.rules.explain import COLUMNS
from dovetail_flags.types.context import Context
from dovetail_flags.types.details import Details, ErrorCode, Health, failure

logger = logging.getLogger("dovetail.flags")

#: Seconds that a thread waits while another one reads the flags for the first time in the process.
FIRST_LOAD: Final = 2.0
#: Seconds until a failed query is repeated, also if FLAGS_REFRESH_SECONDS is an hour because changes are announced.
RETRY_SECONDS: Final = 5.0
#: Seconds between two log records of failures.
LOG_INTERVAL: Final = 60.0

_JSON: Final = ("variants", "rules")
_KEY: Final = COLUMNS.index("key")
_VISIBLE: Final = COLUMNS.index("client_visible")


class BrokenFlag:
    """A flag whose row was changed without the services, and cannot be compiled."""

    __slots__ = ("key", "kind", "version")

    def __init__(self, key: str, kind: str, version: int) -> None:
        self.key = key
        self.kind = kind
        self.version = version

    def details(self, default: Any, context: Context) -> Details:
        return failure(default, ErrorCode.PARSE_ERROR, invalid(self.key), self.version)


class Snapshot:
    """All flags at one moment. Threads read it without a lock.

    A flag is compiled at its first evaluation: to compile 1 000 flags takes as long as to read them, and a request uses
    few. Two threads may compile the same flag; both results are equal.
    """

    __slots__ = ("_answers", "_compiled", "_rows", "_token", "_visible")

    def __init__(self, rows: Mapping[str, tuple[Any, ...]], token: str | None) -> None:
        #: The values of ``COLUMNS`` by key; those of ``_JSON`` are texts.
        self._rows = rows
        self._compiled: dict[str, CompiledFlag | BrokenFlag] = {}
        #: The keys of flags that clients may read, in their order, after the first call that needs them.
        self._visible: tuple[str, ...] | None = None
        self._answers: Answers | None = None
        self._token = token

    def __len__(self) -> int:
        return len(self._rows)

    def details(self, key: str, default: Any, context: Context) -> Details:
        flag = self._compiled.get(key) or self._flag(key)
        if flag is None:
            return failure(default, ErrorCode.FLAG_NOT_FOUND, f"The flag {key!r} does not exist.")
        return flag.details(default, context)

    def keys(self, *, client_visible: bool = False) -> Iterable[str]:
        if not client_visible:
            return list(self._rows)
        if self._visible is None:
            visible = (key for key, row in self._rows.items() if row[_VISIBLE])
            self._visible = tuple(sorted(key for key in visible if isinstance(self._flag(key), CompiledFlag)))
        return self._visible

    def kind(self, key: str) -> str | None:
        flag = self._flag(key)
        return None if flag is None else flag.kind

    def token(self) -> str | None:
        return self._token

    @property
    def answers(self) -> Answers:
        if self._answers is None:
            flags = map(self._flag, self.keys(client_visible=True))
            self._answers = Answers(flag for flag in flags if isinstance(flag, CompiledFlag))
        return self._answers

    def _flag(self, key: str) -> CompiledFlag | BrokenFlag | None:
        flag = self._compiled.get(key)
        if flag is None and (row := self._rows.get(key)) is not None:
            flag = self._compiled[key] = _compile(dict(zip(COLUMNS, row, strict=True)))
        return flag


class _NotLoaded(Snapshot):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__({}, None)

    def details(self, key: str, default: Any, context: Context) -> Details:
        return failure(default, ErrorCode.PROVIDER_NOT_READY, "The flags have not been read yet.")


class DatabaseProvider(Provider):
    """Holds one :class:`Snapshot`, which is replaced by one assignment. An evaluation takes no lock.

    When the snapshot is older than ``FLAGS_REFRESH_SECONDS``, one thread reads the token of the flags, and all flags if
    it has changed. The other threads go on with the present snapshot, as do all of them if the database fails. After a
    failure, the next attempt is at most ``RETRY_SECONDS`` later.
    """

    writable: ClassVar[bool] = True

    def __init__(self) -> None:
        self._snapshot: Snapshot = _NotLoaded()
        self._lock = threading.Lock()
        #: The time of the next query, by the monotonic clock.
        self._due = 0.0
        self._attempted = False
        # Counts expirations, so that one during a query is not lost: the query may have read the old flags.
        self._expirations = 0
        self._loaded_at: datetime | None = None
        self._stale_since: datetime | None = None
        self._error = ""
        self._next_log = 0.0

    def pin(self) -> View:
        if changes.are_open() and (own := self._own_snapshot()) is not None:
            return own
        if monotonic() >= self._due and not _in_event_loop():
            self._refresh()
        return self._snapshot

    def details(self, key: str, default: Any, context: Context) -> Details:
        return self.pin().details(key, default, context)

    def keys(self, *, client_visible: bool = False) -> Iterable[str]:
        return self.pin().keys(client_visible=client_visible)

    def kind(self, key: str) -> str | None:
        return self.pin().kind(key)

    def token(self) -> str | None:
        return self.pin().token()

    def health(self) -> Health:
        self.pin()
        loaded = self._loaded_at is not None
        return Health(
            provider="database",
            healthy=loaded and self._stale_since is None,
            flags=len(self._snapshot) if loaded else None,
            loaded_at=self._loaded_at,
            stale_since=self._stale_since,
            error=self._error,
        )

    def expire(self) -> None:
        self._expirations += 1
        self._due = 0.0

    def refresh(self) -> None:
        self.expire()
        if not _in_event_loop():
            # Waits for a thread that reads the old flags, so that the caller sees its own change.
            self._refresh(wait=True)

    async def arefresh(self) -> None:
        if monotonic() >= self._due:
            await sync_to_async(self._refresh)()

    def _refresh(self, *, wait: bool = False) -> None:
        wait = wait or not self._attempted
        if not self._lock.acquire(timeout=FIRST_LOAD if wait else 0):
            return
        try:
            if monotonic() >= self._due:
                self._read()
        finally:
            self._lock.release()

    def _read(self) -> None:
        expirations, wait = self._expirations, conf.REFRESH_SECONDS
        alias = router.db_for_read(get_flag_model())
        connection = connections[alias]
        if connection.in_atomic_block and (connection.needs_rollback or changes.own_change(alias)):
            return  # the first cannot query, and the second would show other threads what may be rolled back
        try:
            with _savepoint(alias):
                token = _read_token(alias)
                if self._loaded_at is None or token != self._snapshot.token():
                    self._snapshot = load(alias, token)
        except Exception as error:  # noqa: BLE001  # a flag must not break a request, whatever the database does
            self._failed(error)
            wait = min(wait, RETRY_SECONDS)
            # A worker between requests has no other code that replaces a broken connection.
            if not connection.in_atomic_block:
                with suppress(Exception):
                    connection.close_if_unusable_or_obsolete()
        else:
            self._loaded_at = timezone.now()
            self._stale_since = None
            self._error = ""
        self._attempted = True
        self._due = monotonic() + wait
        if self._expirations != expirations:
            self._due = 0.0

    def _failed(self, error: Exception) -> None:
        self._stale_since = self._stale_since or timezone.now()
        self._error = f"{type(error).__name__}: {error}"
        if monotonic() >= self._next_log:
            self._next_log = monotonic() + LOG_INTERVAL
            logger.warning("Flags cannot be read; evaluations use those of %s.", self._loaded_at, exc_info=error)

    def _own_snapshot(self) -> Snapshot | None:
        """Return the flags as the transaction of this thread has changed them, or None if it has changed none."""
        alias = router.db_for_write(get_flag_model())
        change = changes.own_change(alias)
        if change is None or connections[alias].needs_rollback:
            return None
        if change.snapshot is None:
            with _savepoint(alias):
                change.snapshot = load(alias, _read_token(alias))
        snapshot: Snapshot = change.snapshot
        return snapshot


def load(alias: str, token: str | None) -> Snapshot:
    """Read all flags that are not archived, with one query."""
    # JSON as text: to decode that of 1 000 flags took three times as long as the rest, and a request uses few flags.
    columns = [Cast(name, TextField()) if name in _JSON else name for name in COLUMNS]
    rows = get_flag_model()._base_manager.using(alias).filter(archived_at=None).values_list(*columns)
    return Snapshot({row[_KEY]: row for row in rows}, token)


def _compile(columns: dict[str, Any]) -> CompiledFlag | BrokenFlag:
    try:
        return CompiledFlag(**columns | {name: json.loads(columns[name]) for name in _JSON})
    except INVALID:
        logger.exception("The flag %s has invalid variants or rules; evaluations return defaults.", columns["key"])
        return BrokenFlag(columns["key"], columns["type"], columns["version"])


def _read_token(alias: str) -> str | None:
    # Before the flags: a change between the two queries leaves an old token, and the next query reads them again.
    token = FlagSet._base_manager.using(alias).filter(pk=1).values_list("token", flat=True).first()
    return None if token is None else str(token)


@contextmanager
def _savepoint(alias: str) -> Iterator[None]:
    """Protect the transaction of the caller: on PostgreSQL, a failed query would end it."""
    if not connections[alias].in_atomic_block:
        yield
        return
    with transaction.atomic(using=alias):
        yield


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
