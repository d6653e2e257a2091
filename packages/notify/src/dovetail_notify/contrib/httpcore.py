"""Calls to other servers, with httpcore: addresses that are checked and then connected to, and an end to every wait."""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpcore
from httpcore import SOCKET_OPTION

from dovetail_notify.destinations import inside_hosts, require_public
from dovetail_notify.transports.calls import ANSWER_BYTES, CALL_SECONDS, Answer, Unreachable

_deadline = threading.local()

# At DEBUG it writes every header of HTTP/2 in clear: provider tokens, and devices in paths. A level that the project
# gave it stays.
_hpack = logging.getLogger("hpack")
if _hpack.level == logging.NOTSET:
    _hpack.setLevel(logging.INFO)


class HttpCaller:
    """Connections of one process to whatever is called. For any number of threads.

    With ``public`` only public addresses are connected to, and ``NOTIFY_INSIDE_ORIGINS``. Redirects are answers like
    others, never followed; proxies of the environment are not asked, for it is they who would look names up.
    """

    def __init__(self, *, public: bool, http2: bool = False) -> None:
        self._public, self._http2 = public, http2
        # The system's authorities, or those of SSL_CERT_FILE; httpcore's own choice is certifi's.
        self._ssl_context = ssl.create_default_context()
        self._lock = threading.Lock()
        self._made: list[httpcore.ConnectionPool] = []
        self._free: list[httpcore.ConnectionPool] = []

    def post(self, url: str, *, headers: Mapping[str, str], content: bytes, again: bool = True) -> Answer:
        """The answer with at most 64 KiB of its body. Raises ``Unreachable``, or ``ForbiddenDestination``."""
        try:
            return self._post(url, [("Host", urlsplit(url).netloc), *headers.items()], content)
        except _FAILURES as error:
            # A connection of HTTP/2 is kept for long, and that its server has closed it shows in the next call only.
            if self._http2 and again and isinstance(error, _CUT):
                return self.post(url, headers=headers, content=content, again=False)
            # Without its text and without its cause, in which addresses stand.
            raise Unreachable(type(error).__name__) from None

    def _post(self, url: str, headers: list[tuple[str, str]], content: bytes) -> Answer:
        with (
            _within(CALL_SECONDS),
            self._borrowed() as pool,
            pool.stream("POST", url, headers=headers, content=content, extensions=_TIMEOUTS) as response,
        ):
            body = bytearray()
            for chunk in response.iter_stream():
                body += chunk
                if len(body) > ANSWER_BYTES:
                    break
            found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            return Answer(response.status, found, bytes(body[:ANSWER_BYTES]))

    @contextmanager
    def _borrowed(self) -> Iterator[httpcore.ConnectionPool]:
        """The pool for one call: of HTTP/1.1 the one that all share; of HTTP/2 nobody else's until the call ends.

        In httpcore the threads that share a connection of HTTP/2 share the numbers of its streams, its compression of
        headers and its TLS session, none of them behind a lock: the server closes on what two of them wrote into each
        other, and whatever was under way on the connection is sent again or lost. Apple allows many connections, and
        asks to keep them: what was given back last is taken first.
        """
        with self._lock:
            if self._http2:
                pool = self._free.pop() if self._free else self._make()
            else:
                pool = self._made[0] if self._made else self._make()
        try:
            yield pool
        finally:
            if self._http2:
                with self._lock:
                    self._free.append(pool)

    def _make(self) -> httpcore.ConnectionPool:
        pool = httpcore.ConnectionPool(
            ssl_context=self._ssl_context,
            http1=not self._http2,
            http2=self._http2,
            max_connections=1 if self._http2 else 100,
            keepalive_expiry=60,
            network_backend=CheckingBackend(public=self._public),
        )
        self._made.append(pool)
        return pool

    def close(self) -> None:
        with self._lock:
            for pool in self._made:
                pool.close()


_TIMEOUTS: dict[str, Any] = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), CALL_SECONDS)}
_CUT = (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError)
_FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)


class CheckingBackend(httpcore.NetworkBackend):
    """Looks a name up once, and connects to the very addresses that it has looked at.

    A name that is checked and then given to a client is looked up twice, and its owner answers the second time with
    127.0.0.1 (DNS rebinding). TLS is for the name all the same: httpcore starts it on what this returns.
    """

    def __init__(self, *, public: bool) -> None:
        self._public = public
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _addresses(host, port)
        if self._public and (host, port) not in inside_hosts():
            for address in addresses:  # all of them: one that has an inside one beside a public one is up to something
                require_public(ipaddress.ip_address(address))
        failure: Exception = httpcore.ConnectError()
        for address in addresses:
            try:
                stream = self._network.connect_tcp(address, port, _left(timeout), local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return HurriedStream(stream)
        raise failure


class HurriedStream(httpcore.NetworkStream):
    """Ends with the call. A server that sends a byte every nine seconds would else hold a thread for hours."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return HurriedStream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # a label of more than 63 characters is a UnicodeError
        raise httpcore.ConnectError from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    _deadline.at = time.monotonic() + seconds
    try:
        yield
    finally:
        del _deadline.at


def _left(timeout: float | None) -> float | None:
    at = getattr(_deadline, "at", None)
    if at is None:
        return timeout
    left: float = at - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left if timeout is None else min(left, timeout)
