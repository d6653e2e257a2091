"""Random tokens and keyed hashes for what must be found again but never be read from the database."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator, Sequence

from django.conf import settings
from django.utils.crypto import constant_time_compare
from django.utils.encoding import force_bytes

from dovetail_core.conf import conf

__all__ = ["constant_time_compare", "keyed_hash", "keyed_hashes", "random_token"]


def random_token(nbytes: int = 32) -> str:
    """A URL-safe token with ``nbytes`` bytes of randomness (default 256 bits) from the system's generator."""
    return secrets.token_urlsafe(nbytes)


def keyed_hash(purpose: str, value: str) -> str:
    """HMAC-SHA256 of ``value`` under the newest pepper, in 64 hex digits. Store this.

    ``purpose`` separates domains (OWASP ASVS 5.0 11.1): a hash made for one use is worthless for another.
    """
    return next(keyed_hashes(purpose, value))


def keyed_hashes(purpose: str, value: str) -> Iterator[str]:
    """The hashes of ``value`` under every pepper that is still accepted, newest first. Look up with these.

    Peppers are ``DOVETAIL_SECRET_PEPPERS``, or where that is empty ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``, so
    that rotating a key does not void what was issued under the one before.
    """
    # The length prefix keeps ("ab", "c") and ("a", "bc") apart.
    message = f"{len(purpose)}:{purpose}{value}".encode()
    keys: Sequence[str | bytes] = conf.SECRET_PEPPERS or (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    for pepper in keys:
        # Derived, so that no hash here equals a MAC that Django makes with the same SECRET_KEY.
        key = hashlib.sha256(b"dovetail.secrets" + force_bytes(pepper)).digest()
        yield hmac.new(key, message, hashlib.sha256).hexdigest()
