"""VAPID (RFC 8292), which identifies this server to push services, and keys on the curve P-256."""

from __future__ import annotations

import base64
import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_LIFETIME: Final = 12 * 3600
"""Seconds. RFC 8292 2 allows a day."""


def b64encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64decode(text: str) -> bytes:
    """Decode URL-safe base64 with or without padding. Raise ``ValueError`` for other text."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*={0,2}", text):
        raise ValueError("is not URL-safe base64")
    text = text.rstrip("=")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def generate() -> tuple[str, str]:
    """Return a new private key and its public key in URL-safe base64."""
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    number = private.private_numbers().private_value
    return b64encode(number.to_bytes(32, "big")), b64encode(point(private))


def load_pem_key(pem: str) -> EllipticCurvePrivateKey:
    """Return a private key on the curve P-256. Raise ``ValueError`` without showing the key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):
        raise ValueError("is PEM that cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ValueError("is not a key on the curve P-256")
    return key


@lru_cache(maxsize=4)
def private_key(text: str) -> EllipticCurvePrivateKey:
    """Load the key from 32 bytes in URL-safe base64, or from PEM. Raise ``ValueError`` without showing the key."""
    from cryptography.hazmat.primitives.asymmetric import ec

    if text.lstrip().startswith("-----BEGIN"):
        return load_pem_key(text)
    try:
        raw = b64decode(text)
        if len(raw) != 32:
            raise ValueError
        return ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())
    except ValueError:
        raise ValueError("is neither 32 bytes in URL-safe base64 nor PEM") from None


def public_key(text: str) -> str:
    """Return the public key of a private key, in the format of a browser's ``applicationServerKey``."""
    return b64encode(point(private_key(text)))


def authorization(key: str, subject: str, origin: str) -> str:
    # Reused for half of its lifetime, because a signature for each push would take most of the push's time.
    return _authorization(key, subject, origin, int(time.time()) // (_LIFETIME // 2))


# Bounded, because users choose the origins.
@lru_cache(maxsize=256)
def _authorization(key: str, subject: str, origin: str, slot: int) -> str:
    import jwt

    claims = {"aud": origin, "exp": slot * (_LIFETIME // 2) + _LIFETIME, "sub": subject}
    return f"vapid t={jwt.encode(claims, private_key(key), algorithm='ES256')}, k={public_key(key)}"


def point(private: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return private.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
