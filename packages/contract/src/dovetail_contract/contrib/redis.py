"""Counts in Redis, for every process: one round trip for a request, whatever the number of its limits.

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

#: Seconds that a request waits for Redis at most.
TIMEOUT = 0.05
#: Seconds after a failure in which Redis is not asked, so that not every request waits for the timeout.
PAUSE = 5.0
#: Connections that are kept for the next requests; those that a rush has opened beyond are closed again.
IDLE = 100
_LONGEST = 4096


class RedisStore:
    def __init__(self, url: str = "", *, timeout: float = TIMEOUT) -> None:
        # For what it reads out of the address; it gives no connection. Going through it and the client around it adds
        # 26 µs to a question.
        pool: Any = redis.ConnectionPool.from_url(
            url or conf.RATE_LIMIT_LOCATION,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            # The library's own would wait and try again, for seconds.
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # the other one asks for more at each connect, and answers the same
        )
        self._connection_class: Any = pool.connection_class
        self._connection_options: dict[str, Any] = pool.connection_kwargs
        # Not one for each thread: under ASGI every request has a thread of its own, and would open another. Putting one
        # back and taking the last are atomic; what falls out at the other end is closed.
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
                # Redis was started anew, or has closed what was idle: once more, at once. Not after a timeout, which
                # would be two. A request that was counted before its connection broke is counted twice.
                answer = _asked(connection, checks, charge)
        except BaseException:
            # Whatever it was, a worker's own timeout too: the answer that is under way would be the next request's.
            connection.disconnect()
            raise
        self._idle.append(connection)
        return answer

    def _connection(self) -> tuple[Any, bool]:
        """One that nobody else has, and whether it was used before."""
        process = os.getpid()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._connection_class(**self._connection_options), False
            # Of the process that forked this one it is left alone: each would read the other's answers.
            if connection.pid == process:
                return connection, True


def _asked(connection: Any, checks: tuple[Check, ...], charge: bool) -> bytes:
    line = _line(connection, _evalsha(checks, charge))
    if line.startswith(b"-NOSCRIPT"):
        # Redis was started anew, or emptied. EVAL keeps the script for the next ones.
        line = _line(connection, _packed("EVAL", SCRIPT, checks, charge))
    if not line.startswith(b"+"):
        raise ResponseError(line.decode(errors="replace"))
    return line[1:]


def _line(connection: Any, command: bytes) -> bytes:
    """The one line that Redis answers. Raises the library's errors, and leaves no connection open that is broken."""
    # The library connects, authenticates and chooses the database. Its parser is made for every answer that there is,
    # and costs 23 µs of a request; Kombu takes the socket for itself, too.
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
        raise redis.TimeoutError(f"No answer: {error}") from error
    except OSError as error:
        connection.disconnect()
        raise redis.ConnectionError(f"Broken: {error}") from error
    if not line:
        connection.disconnect()
        raise redis.ConnectionError("Closed by Redis.")
    return line


@lru_cache(maxsize=4096)
def _evalsha(checks: tuple[Check, ...], charge: bool) -> bytes:
    # Remembered, because a client comes again, and with the same limits.
    return _packed("EVALSHA", _SHA, checks, charge)


def _packed(command: str, script: str, checks: tuple[Check, ...], charge: bool) -> bytes:
    """The command as it is sent (RESP): an array of strings, each with its length."""
    arguments: list[Any] = [command, script, len(checks), *(f"{{dovetail.rate}}:{check.key}" for check in checks)]
    arguments.append(int(charge))
    for check in checks:
        arguments += [check.interval, check.interval * check.burst, check.cost]
    encoded = [str(argument).encode() for argument in arguments]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in encoded)
