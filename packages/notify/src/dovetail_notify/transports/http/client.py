"""An HTTP client on httpcore that checks each address before it connects and limits the duration of a whole call."""

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

from dovetail_notify.transports.http import CALL_SECONDS, RESPONSE_BYTES, HttpResponse, Unreachable
from dovetail_notify.transports.http.ssrf import inside_hosts, require_public

#: The end of the call that a thread makes.
_deadline = threading.local()

# At level DEBUG, hpack logs every HTTP/2 header in clear text, including provider tokens, and device tokens in paths.
# Keep a level that the project has set.
_hpack = logging.getLogger("hpack")
if _hpack.level == logging.NOTSET:
    _hpack.setLevel(logging.INFO)


class HttpcoreClient:
    """The connections of one process, for any number of threads.

    With ``public`` it connects only to public addresses and ``NOTIFY_INSIDE_ORIGINS``. It does not follow redirects. It
    ignores the proxies in environment variables, because a proxy resolves names itself.
    """

    def __init__(self, *, public: bool, http2: bool = False) -> None:
        self._public, self._http2 = public, http2
        # The system's certificate authorities or SSL_CERT_FILE; httpcore's default is certifi's list.
        self._ssl_context = ssl.create_default_context()
        self._lock = threading.Lock()
        self._all: list[httpcore.ConnectionPool] = []
        self._free: list[httpcore.ConnectionPool] = []

    def post(self, url: str, *, headers: Mapping[str, str], content: bytes, retry: bool = True) -> HttpResponse:
        """Return the response with at most 64 KiB of its body. Raise ``Unreachable`` or ``ForbiddenDestination``."""
        try:
            return self._post(url, [("Host", urlsplit(url).netloc), *headers.items()], content)
        except _FAILURES as error:
            # The client learns only from the next call that the server has closed an idle HTTP/2 connection.
            if self._http2 and retry and isinstance(error, _DISCONNECTED):
                return self.post(url, headers=headers, content=content, retry=False)
            # Without the error's text and cause, which contain URLs.
            raise Unreachable(type(error).__name__) from None

    def _post(self, url: str, headers: list[tuple[str, str]], content: bytes) -> HttpResponse:
        _deadline.at = time.monotonic() + CALL_SECONDS
        with (
            self._borrowed() as pool,
            pool.stream("POST", url, headers=headers, content=content, extensions=_TIMEOUTS) as response,
        ):
            body = bytearray()
            for chunk in response.iter_stream():
                body += chunk
                if len(body) > RESPONSE_BYTES:
                    break
            fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            return HttpResponse(response.status, fields, bytes(body[:RESPONSE_BYTES]))

    @contextmanager
    def _borrowed(self) -> Iterator[httpcore.ConnectionPool]:
        """Yield the pool of all HTTP/1.1 calls, or a pool that no other HTTP/2 call uses at the same time.

        In httpcore, threads that share an HTTP/2 connection share its stream numbers, header compression and TLS
        session without a lock. The server closes the connection when their writes mix, and pending requests are sent
        again or lost. Apple allows many connections and asks clients to keep them open, so the pool that was returned
        last is used first.
        """
        with self._lock:
            if not self._free:
                pool = httpcore.ConnectionPool(
                    ssl_context=self._ssl_context,
                    http1=not self._http2,
                    http2=self._http2,
                    max_connections=1 if self._http2 else 100,
                    keepalive_expiry=60,
                    network_backend=CheckingBackend(public=self._public),
                )
                self._all.append(pool)
                self._free.append(pool)
            pool = self._free.pop() if self._http2 else self._free[0]
        try:
            yield pool
        finally:
            if self._http2:
                with self._lock:
                    self._free.append(pool)

    def close(self) -> None:
        with self._lock:
            for pool in self._all:
                pool.close()


_TIMEOUTS: dict[str, Any] = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), CALL_SECONDS)}
_DISCONNECTED = (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError)
_FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)


class CheckingBackend(httpcore.NetworkBackend):
    """Resolves a name once and connects to the addresses that it has checked.

    If the name were resolved again to connect, its owner could answer 127.0.0.1 the second time (DNS rebinding). TLS
    still verifies the name, because httpcore starts TLS on the stream that this class returns.
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
        try:
            results = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):  # a label of more than 63 characters is a UnicodeError
            raise httpcore.ConnectError from None
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in results))
        if self._public and (host, port) not in inside_hosts():
            for address in addresses:  # a mix of public and internal addresses is an attack
                require_public(ipaddress.ip_address(address))
        failure: Exception = httpcore.ConnectError()
        for address in addresses:
            try:
                stream = self._network.connect_tcp(address, port, _remaining(timeout), local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return DeadlineStream(stream)
        raise failure


class DeadlineStream(httpcore.NetworkStream):
    """A stream that ends at the call's deadline.

    Otherwise a server that sends a byte every nine seconds would occupy a thread for hours.
    """

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _remaining(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _remaining(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, _remaining(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _remaining(timeout: float | None) -> float:
    """Return the seconds until the deadline of this thread's call, or ``timeout`` if that is shorter."""
    remaining: float = _deadline.at - time.monotonic()
    if remaining <= 0:
        raise httpcore.ReadTimeout
    return remaining if timeout is None else min(remaining, timeout)
