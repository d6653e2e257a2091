"""Web Push (RFC 8030) with message encryption (RFC 8291) and server identification (RFC 8292)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import urlsplit

from django.core.checks import CheckMessage, Error

from dovetail_notify.conf import conf
from dovetail_notify.models import Device
from dovetail_notify.transports import Outcome
from dovetail_notify.transports.http import HttpResponse
from dovetail_notify.transports.http.calls import clients
from dovetail_notify.transports.http.ssrf import check_endpoint
from dovetail_notify.transports.push import vapid
from dovetail_notify.transports.push.base import PushMessage, Result, Sender

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

PLAINTEXT_BYTES: Final = 3993
"""Every service accepts 4096 bytes. The header, the padding delimiter and the tag take the rest (RFC 8291 4)."""
_RECORD_BYTES: Final = 4096


class WebPushSender(Sender):
    kind: ClassVar[str] = Device.Kind.WEB
    setting: ClassVar[str] = "VAPID_PRIVATE_KEY"

    def send(self, device: Device, message: PushMessage) -> Result:
        endpoint = device.token
        # Checked again, because a row may bypass the API's validation.
        check_endpoint(endpoint)

        def payload(title: str, body: str, url: str) -> dict[str, str]:
            return {**message.data, "title": title, "body": body, "url": url, "tag": message.tag}

        content = message.fitting(PLAINTEXT_BYTES, payload)
        try:
            p256dh, auth = (vapid.b64decode(device.keys[name]) for name in ("p256dh", "auth"))
            encrypted = encrypt(content, p256dh, auth)
        except (KeyError, TypeError, ValueError):
            return Result.gone("unusable keys")
        parts = urlsplit(endpoint)
        origin = f"{parts.scheme}://{parts.netloc}"
        headers = {
            "Authorization": vapid.authorization(conf.VAPID_PRIVATE_KEY, conf.VAPID_SUBJECT, origin),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(message.ttl),
            "Urgency": message.urgency,
        }
        if message.topic:
            headers["Topic"] = message.topic
        return _result(clients.get(public=True).post(endpoint, headers=headers, content=encrypted))

    @classmethod
    def check(cls) -> Iterator[CheckMessage]:
        try:
            vapid.private_key(str(conf.VAPID_PRIVATE_KEY))
        except ValueError as error:
            yield Error(
                f"NOTIFY_VAPID_PRIVATE_KEY {error}.",
                hint="Create a key with manage.py notify_vapid_keys. Browsers must then subscribe again.",
                id="dovetail_notify.E012",
            )
        # Push services refuse a token without a subject, some of them with a 403 without a reason.
        if not re.fullmatch(r"mailto:[^@\s<>]+@[^@\s<>]+|https://\S+", str(conf.VAPID_SUBJECT)):
            yield Error(
                f"NOTIFY_VAPID_SUBJECT is {conf.VAPID_SUBJECT!r}; it must be a mailto: or https: URL.",
                hint="Set it to a contact for push services: mailto:ops@example.com.",
                id="dovetail_notify.E012",
            )


# Not http-ece, which would save 20 lines but has no wheel, no types and no size limit; nor pywebpush, which calls with
# requests and cannot check addresses.
def encrypt(
    plaintext: bytes,
    p256dh: bytes,
    auth: bytes,
    *,
    private: EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """Encrypt one record of ``aes128gcm`` (RFC 8188, RFC 8291) for the owner of the key pair with ``p256dh``.

    ``private`` and ``salt`` are for test vectors only, because reusing one of them reveals the texts. Raise
    ``ValueError`` for invalid keys.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    def derive(secret: bytes, with_salt: bytes, info: bytes, length: int) -> bytes:
        return HKDF(hashes.SHA256(), length, with_salt, info).derive(secret)

    if len(plaintext) > PLAINTEXT_BYTES or len(auth) != 16:
        raise ValueError(f"The text has at most {PLAINTEXT_BYTES} bytes, and the authentication secret has 16.")
    # Raises ValueError for a point that is not on the curve, which could reveal the private key.
    receiver = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), p256dh)
    private = private or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(16)
    sender = vapid.point(private)  # the uncompressed public key
    shared = derive(private.exchange(ec.ECDH(), receiver), auth, b"WebPush: info\0" + p256dh + sender, 32)
    key = derive(shared, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = derive(shared, salt, b"Content-Encoding: nonce\0", 12)
    ciphertext = AESGCM(key).encrypt(nonce, plaintext + b"\2", None)  # \2 marks the last record
    return salt + _RECORD_BYTES.to_bytes(4, "big") + bytes([len(sender)]) + sender + ciphertext


def _result(response: HttpResponse) -> Result:
    status, reason = response.status, f"status {response.status}"
    if 200 <= status < 300:
        return Result(Outcome.sent())
    if status in (404, 410):
        return Result.gone(reason)
    # 401 and 403 mean a wrong key or clock, which can be corrected before the last attempt.
    if status in (401, 403, 408, 425, 429) or status >= 500:
        return Result.retry(reason, response.retry_after)
    return Result(Outcome.dead(reason))
