"""Push services on the loopback interface, with TLS, that check requests like the real services."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

from dovetail_notify import NotificationType, Rendered
from dovetail_notify.transports.push.vapid import b64decode, b64encode
from dovetail_notify.types import registry


class Alarm(NotificationType, key="orders.alarm"):
    place: str
    detail: str = "Go and look."

    channels = {"in_app": True, "email": True, "push": True, "webhook": True}
    urgency = "high"
    example = {"place": "Hall"}

    def render(self) -> Rendered:
        return Rendered(title=f"Alarm in {self.place}", body=self.detail, url="/alarms")

    def collapse_key(self) -> str:
        return f"alarm:{self.place}"


PUBLIC_ADDRESS = "93.184.215.14"

# Registered only for tests that configure its channels (the fixture ``service``).
registry.remove(Alarm)


@dataclass
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, status: int, body: Any, **headers: str) -> Reply:
        return cls(status, json.dumps(body).encode(), headers)


@dataclass
class Service:
    """The requests that a service received. ``answer`` returns the reply to a request."""

    origin: str
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    goes_away: bool = False
    answer: Callable[[Request], Reply] = lambda request: Reply(201)


def certificate(folder: Path) -> Path:
    """Return a file with a key and a self-signed certificate for 127.0.0.1 and localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(secret + certificate.public_bytes(pem))
    return path


def server_context(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@contextmanager
def https_service(pem: Path) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Otherwise the body would wait 40 ms for the acknowledgement of the head, which is written before it.
        disable_nagle_algorithm = True

        def setup(self) -> None:
            service.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            service.requests.append(request)
            reply = service.answer(request)
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: Any) -> None:
            """Ignore clients that disconnect early, which tests do on purpose."""

    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = server_context(pem).wrap_socket(server.socket, server_side=True)
        service = Service(f"https://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def http2_service(pem: Path) -> Iterator[Service]:
    """Yield a service with HTTP/2 only, like Apple's. With ``goes_away`` it closes the connection after a response."""
    context = server_context(pem)
    context.set_alpn_protocols(["h2"])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        service = Service(f"https://127.0.0.1:{listening.getsockname()[1]}")
        threads: list[threading.Thread] = []
        sockets: list[ssl.SSLSocket] = []

        def accept() -> None:
            while True:
                try:
                    connection = context.wrap_socket(listening.accept()[0], server_side=True)
                except ssl.SSLError:
                    continue
                except OSError:
                    return
                service.connections += 1
                sockets.append(connection)
                threads.append(threading.Thread(target=_serve_http2, args=(connection, service)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield service
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for each in sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def _serve_http2(connection: ssl.SSLSocket, service: Service) -> None:
    state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    state.initiate_connection()
    headers: dict[int, dict[str, str]] = {}
    bodies: dict[int, bytes] = {}
    with connection, suppress(OSError):
        connection.sendall(state.data_to_send())
        while data := connection.recv(65536):
            for event in state.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    headers[event.stream_id] = {name.decode(): value.decode() for name, value in event.headers}
                    bodies[event.stream_id] = b""
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    sent = headers.pop(event.stream_id)
                    request = Request(sent[":path"], sent, bodies.pop(event.stream_id))
                    service.requests.append(request)
                    reply = service.answer(request)
                    fields = [
                        (":status", str(reply.status)),
                        *((k.replace("_", "-"), v) for k, v in reply.headers.items()),
                    ]
                    state.send_headers(event.stream_id, fields)
                    state.send_data(event.stream_id, reply.body, end_stream=True)
            connection.sendall(state.data_to_send())
            if service.goes_away:
                service.goes_away = False
                return


class Browser:
    """The receiver of Web Push, which decrypts messages according to the RFCs without the code under test."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._auth = b"0123456789abcdef"
        self.keys = {"p256dh": b64encode(_point(self._private.public_key())), "auth": b64encode(self._auth)}

    def read(self, request: Request) -> Any:
        assert request.headers["content-encoding"] == "aes128gcm"
        body = request.body
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        sender, ciphertext = body[21 : 21 + length], body[21 + length :]
        assert len(body) <= size == 4096
        peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
        secret = self._private.exchange(ec.ECDH(), peer)
        info = b"WebPush: info\0" + _point(self._private.public_key()) + sender
        ikm = _hkdf(self._auth, secret, info, 32)
        key, nonce = (
            _hkdf(salt, ikm, f"Content-Encoding: {what}\0".encode(), size)
            for what, size in (("aes128gcm", 16), ("nonce", 12))
        )
        padded = AESGCM(key).decrypt(nonce, ciphertext, None).rstrip(b"\0")
        assert padded[-1:] == b"\2"
        return json.loads(padded[:-1])


def vapid_claims(request: Request, public_key: str) -> dict[str, Any]:
    """Return the claims of the request's token. Raise an error unless the key of the subscription signed it."""
    scheme, _, parameters = request.headers["authorization"].partition(" ")
    fields = dict(each.strip().split("=", 1) for each in parameters.split(","))
    assert (scheme, fields["k"]) == ("vapid", public_key)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b64decode(public_key))
    claims: dict[str, Any] = jwt.decode(fields["t"], key, algorithms=["ES256"], options={"verify_aud": False})
    return claims


def _hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    pseudorandom = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(pseudorandom, info + b"\1", hashlib.sha256).digest()[:length]


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
