"""Servers that tests stop and start: nginx, Redis, a proxy for a broker, and a mail sink."""

from __future__ import annotations

import contextlib
import email
import os
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

REDIS = shutil.which("redis-server")
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
NGINX_CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy/nginx.conf"


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


class Nginx:
    """nginx with ``deploy/nginx.conf``, at the addresses of the test.

    ``careless`` passes on headers with underscores and also serves plain HTTP, like a proxy that is configured by
    somebody else.
    """

    def __init__(
        self, folder: Path, *, api: int, websockets: int, ports: Sequence[int], careless: bool = False
    ) -> None:
        self.folder = folder
        self.redirect, self.https, self.http = ports
        folder.mkdir()
        self._certificate()
        # nginx's workers are another user if the tests run as root.
        temporary = "".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        values = {
            "worker_processes auto;": f"worker_processes 1; user root; pid {folder}/pid; error_log {folder}/error.log;"
            if os.getuid() == 0
            else f"worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;",
            "worker_rlimit_nofile 8192;": "",
            "access_log off;": f"access_log off; {temporary}",
            "127.0.0.1:8000": f"127.0.0.1:{api}",
            "127.0.0.1:8001": f"127.0.0.1:{websockets}",
            "listen 80;": f"listen 127.0.0.1:{self.redirect};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.https} ssl;",
            "/etc/nginx/tls/fullchain.pem": f"{folder}/certificate.pem",
            "/etc/nginx/tls/privkey.pem": f"{folder}/key.pem",
        }
        if careless:
            values["underscores_in_headers off;"] = "underscores_in_headers on;"
            values["listen 443 ssl;"] += f" listen 127.0.0.1:{self.http};"
        text = NGINX_CONFIGURATION.read_text()
        for name, value in values.items():
            assert text.count(name) == 1, name
            text = text.replace(name, value)
        (folder / "nginx.conf").write_text(text)

    def __enter__(self) -> Self:
        command = [str(NGINX), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-g", "daemon off;"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.https), timeout=1).close()
                return self
            assert self.process.poll() is None, (self.folder / "error.log").read_text()
            time.sleep(0.05)
        raise AssertionError("nginx does not listen after 5 seconds.")

    def __exit__(self, *args: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)

    def _certificate(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api.example.com")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (self.folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
        (self.folder / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, plain))


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
