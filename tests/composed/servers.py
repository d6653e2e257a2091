"""Servers that tests stop and start: Redis, a proxy for a broker, and a mail sink."""

from __future__ import annotations

import contextlib
import email
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

REDIS = shutil.which("redis-server")


class Redis:
    """A Redis without persistence. A restart clears it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(REDIS), "--port", str(self.port), "--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        import redis

        for _ in range(100):
            try:
                with redis.Redis(port=self.port) as client:
                    client.ping()
                return
            except redis.ConnectionError:
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Proxy:
    """A proxy for a shared server. While stopped, it closes all connections and rejects new ones."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._target = (self._url.hostname or "127.0.0.1", self._url.port or 5672)
        self._server: socket.socket | None = None
        self._pairs: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        credentials, at, _ = self._url.netloc.rpartition("@")
        return self._url._replace(netloc=f"{credentials}{at}127.0.0.1:{self.port}").geturl()

    def start(self) -> None:
        self._server = server = socket.create_server(("127.0.0.1", self.port))
        self.port = server.getsockname()[1]
        threading.Thread(target=self._accept, args=(server,), daemon=True).start()

    def stop(self) -> None:
        with self._lock:
            server, self._server = self._server, None
            ends, self._pairs = self._pairs, set()
        if server is not None:
            # Closing the socket does not wake a thread in accept().
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                target = socket.create_connection(self._target, timeout=10)
                target.settimeout(None)
                with self._lock:
                    if self._server is not server:
                        client.close()
                        target.close()
                        return
                    self._pairs |= {client, target}
                for source, sink in ((client, target), (target, client)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                sink.sendall(chunk)
        # Either end closes both. Each socket is closed by its reader, so that its file descriptor is not reused early.
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._pairs.discard(source)
        source.close()


def forget_queue(broker_url: str, name: str) -> None:
    """Delete Celery's queue and exchange, which outlive their workers on the shared broker."""
    from kombu import Connection

    with Connection(broker_url, connect_timeout=5) as connection, connection.channel() as channel:
        channel.queue_delete(name)
        if not broker_url.startswith("redis"):
            channel.exchange_delete(name)


class MailSink(socketserver.ThreadingTCPServer):
    """A mail sink. While ``go_on`` is cleared, it accepts mails but does not respond, as if the result were lost."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.messages: list[Any] = []
        self.go_on = threading.Event()
        self.go_on.set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of connections that a killed worker leaves open."""


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 sink\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper().strip()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self._take()
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")

    def _take(self) -> None:
        sink: Any = self.server
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        sink.messages.append(email.message_from_bytes(b"".join(lines)))
        sink.go_on.wait(60)
        self.wfile.write(b"250 taken\r\n")
