"""Counts in Redis, shared by all processes: one round trip per request, whatever the number of limits.

``CONTRACT_RATE_LIMIT_STORE = "dovetail_contract.contrib.redis.RedisStore"``, at ``CONTRACT_RATE_LIMIT_LOCATION``.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha1
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from dovetail_contract.conf import conf
from dovetail_contract.throttling.stores import Check, Result, StoreUnavailable

SCRIPT = (Path(__file__).parent / "gcra.lua").read_text()
_SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

#: The maximum number of seconds that a request waits for Redis.
TIMEOUT = 0.05
#: Seconds for which Redis is not called after a failure, so that not every request waits for the timeout.
PAUSE = 5.0
#: The maximum number of idle connections. Further connections are closed after use.
IDLE = 100
_LONGEST = 4096


class RedisStore:
    def __init__(self, url: str = "", *, timeout: float = TIMEOUT) -> None:
        # The pool only parses the URL. Taking connections from it, through a client, would add 26 µs per call.
        pool: Any = redis.ConnectionPool.from_url(
            url or conf.RATE_LIMIT_LOCATION,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            # The library's default retries for seconds.
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # version 3 sends more commands for each connection, with the same replies
        )
        self._connection_class: Any = pool.connection_class
        self._connection_options: dict[str, Any] = pool.connection_kwargs
        # Not one connection per thread: under ASGI, every request has its own thread, and would open a connection.
        # append() and pop() are atomic, and a connection that the full deque drops is closed.
        self._idle: deque[Any] = deque(maxlen=IDLE)
        self._paused_until = 0.0

    def hit(self, checks: Sequence[Check], *, charge: bool = True) -> list[Result]:
        if time.monotonic() < self._paused_until:
            raise StoreUnavailable
        try:
            answer = self._answer(tuple(checks), charge)
        except RedisError as error:
            self._paused_until = time.monotonic() + PAUSE
            raise StoreUnavailable from error
        numbers = iter(map(int, answer.split()))
        groups = zip(numbers, numbers, numbers, numbers, strict=True)
        return [Result(bool(a), left, retry / 1_000_000, reset / 1_000_000) for a, left, retry, reset in groups]

    def _answer(self, checks: tuple[Check, ...], charge: bool) -> bytes:
        connection, used = self._connection()
        try:
            try:
                answer = _asked(connection, checks, charge)
            except redis.ConnectionError:
                if not used:
                    raise
                # Redis was restarted, or closed an idle connection, so retry once. Not after a timeout, which would
                # double the wait. A request that was counted before its connection broke is counted twice.
                answer = _asked(connection, checks, charge)
        except BaseException:
            # After any exception, such as a worker's timeout, the next request would read the pending reply.
            connection.disconnect()
            raise
        self._idle.append(connection)
        return answer

    def _connection(self) -> tuple[Any, bool]:
        """Return an exclusive connection, and whether it was used before."""
        process = os.getpid()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._connection_class(**self._connection_options), False
            # A connection of the parent process is ignored: both processes would read each other's replies.
            if connection.pid == process:
                return connection, True


# Not client.register_script(), which took 201 µs per decision instead of 94 (measured on a busy machine).
def _asked(connection: Any, checks: tuple[Check, ...], charge: bool) -> bytes:
    used = _bulks([check.used for check in checks])
    line = _line(connection, _evalsha(checks, charge) + used)
    if line.startswith(b"-NOSCRIPT"):
        # Redis was restarted or flushed. EVAL loads the script again.
        line = _line(connection, _packed("EVAL", SCRIPT, checks, charge) + used)
    if not line.startswith(b"+"):
        raise ResponseError(line.decode(errors="replace"))
    return line[1:]


def _line(connection: Any, command: bytes) -> bytes:
    """Return the reply, which is one line. Raise the library's exceptions, and close a broken connection."""
    # The library connects, authenticates and selects the database. Its parser supports every type of reply, and would
    # add 23 µs to a request. Kombu also uses the socket directly.
    if connection._sock is None:
        connection.connect()
    connection.check_health()
    socket = connection._sock
    try:
        socket.sendall(command)
        line: bytes = socket.recv(_LONGEST)
        while line and not line.endswith(b"\r\n"):
            more = socket.recv(_LONGEST)
            line = more and line + more
    except TimeoutError as error:
        raise redis.TimeoutError(f"No reply: {error}") from error
    except OSError as error:
        connection.disconnect()
        raise redis.ConnectionError(f"Connection lost: {error}") from error
    if not line:
        connection.disconnect()
        raise redis.ConnectionError("Redis closed the connection.")
    return line


@lru_cache(maxsize=4096)
def _evalsha(checks: tuple[Check, ...], charge: bool) -> bytes:
    # Cached, because a client sends many requests with the same limits. Only ``used`` differs, which comes last.
    return _packed("EVALSHA", _SHA, checks, charge)


def _packed(command: str, script: str, checks: tuple[Check, ...], charge: bool) -> bytes:
    """Return the command without the values of ``used``, in Redis's protocol (RESP): an array of strings."""
    arguments: list[Any] = [command, script, len(checks), *(f"{{dovetail.rate}}:{check.key}" for check in checks)]
    arguments.append(int(charge))
    for check in checks:
        arguments += [check.interval, check.interval * check.burst, check.cost]
    return b"*%d\r\n" % (len(arguments) + len(checks)) + _bulks(arguments)


def _bulks(arguments: Sequence[object]) -> bytes:
    """Return RESP's bulk strings, each with its length."""
    encoded = [str(argument).encode() for argument in arguments]
    return b"".join(b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in encoded)
