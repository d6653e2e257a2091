"""Web Push: RFC 8030, its encryption RFC 8291 by cryptography's primitives, its identification RFC 8292."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlsplit

from dovetail_notify.conf import conf
from dovetail_notify.destinations import check_endpoint
from dovetail_notify.models import Device
from dovetail_notify.transports.base import Outcome
from dovetail_notify.transports.calls import Answer, callers
from dovetail_notify.transports.push import PushMessage, Result, Sender
from dovetail_notify.transports.vapid import authorization, b64decode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

PLAINTEXT_BYTES: Final = 3993
"""RFC 8291 4: what fits, with header, padding delimiter and tag, into the 4096 bytes that every service takes."""
_RECORD_BYTES: Final = 4096


class WebPushSender(Sender):
    kind: ClassVar[str] = Device.Kind.WEB

    def send(self, device: Device, message: PushMessage) -> Result:
        endpoint = device.token
        # Again: rows of before the rule, of a shell, of an import.
        check_endpoint(endpoint)
        content = message.fitting(PLAINTEXT_BYTES, lambda title, body, url: _shown(message, title, body, url))
        try:
            p256dh, auth = (b64decode(device.keys[name]) for name in ("p256dh", "auth"))
            sealed = seal(content, p256dh, auth)
        except (KeyError, TypeError, ValueError):
            return Result.gone("unusable keys")
        headers = {
            "Authorization": authorization(conf.VAPID_PRIVATE_KEY, conf.VAPID_SUBJECT, _origin(endpoint)),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(message.ttl),
            "Urgency": message.urgency,
        }
        if message.topic:
            headers["Topic"] = message.topic
        return _result(callers.get(public=True).post(endpoint, headers=headers, content=sealed))


def seal(
    plaintext: bytes,
    p256dh: bytes,
    auth: bytes,
    *,
    private: EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """``plaintext`` for who has the private key of ``p256dh``: one record of ``aes128gcm`` (RFC 8188, RFC 8291).

    ``private`` and ``salt`` are for test vectors: one of them used twice gives the texts away. Raises ``ValueError``
    for keys that are none.
    """
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    def derive(secret: bytes, with_salt: bytes, info: bytes, length: int) -> bytes:
        return HKDF(hashes.SHA256(), length, with_salt, info).derive(secret)

    if len(plaintext) > PLAINTEXT_BYTES or len(auth) != 16:
        raise ValueError(f"Takes at most {PLAINTEXT_BYTES} bytes and an authentication secret of 16.")
    # On the curve, or a ValueError: a point beside it would tell of the private key.
    receiver = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), p256dh)
    private = private or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(16)
    sender = private.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    shared = derive(private.exchange(ec.ECDH(), receiver), auth, b"WebPush: info\0" + p256dh + sender, 32)
    key = derive(shared, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = derive(shared, salt, b"Content-Encoding: nonce\0", 12)
    # \2 ends the last record.
    sealed = AESGCM(key).encrypt(nonce, plaintext + b"\2", None)
    return salt + _RECORD_BYTES.to_bytes(4, "big") + bytes([len(sender)]) + sender + sealed


def _shown(message: PushMessage, title: str, body: str, url: str) -> dict[str, Any]:
    return {**message.data, "title": title, "body": body, "url": url, "tag": message.tag}


def _origin(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc}"


def _result(answer: Answer) -> Result:
    status, reason = answer.status, f"status {answer.status}"
    if 200 <= status < 300:
        return Result(Outcome.sent())
    if status in (404, 410):
        return Result.gone(reason)
    # 401 and 403 are our own key or clock: that can be set right within the time of the attempts.
    if status in (401, 403, 408, 425, 429) or status >= 500:
        return Result(Outcome.retry(reason, answer.retry_after))
    return Result(Outcome.dead(reason))
