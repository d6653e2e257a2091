"""Random tokens, and keyed hashes to look up secrets that are not stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator, Sequence
from functools import lru_cache

from django.conf import settings
from django.utils.crypto import constant_time_compare
from django.utils.encoding import force_bytes

from dovetail_core.conf import conf

__all__ = ["constant_time_compare", "keyed_hash", "keyed_hashes", "random_token"]


def random_token(nbytes: int = 32) -> str:
    """Return a URL-safe token with ``nbytes`` bytes of randomness (by default 256 bits) from the operating system."""
    return secrets.token_urlsafe(nbytes)


def keyed_hash(purpose: str, value: str) -> str:
    """Return the HMAC-SHA256 of ``value`` with the newest pepper, as 64 hex digits, to be stored.

    ``purpose`` separates domains (OWASP ASVS 5.0 11.1): a hash made for one purpose does not match for another.
    """
    return next(keyed_hashes(purpose, value))


def keyed_hashes(purpose: str, value: str) -> Iterator[str]:
    """Yield the hash of ``value`` with each accepted pepper, newest first, for lookups.

    The peppers are ``DOVETAIL_SECRET_PEPPERS``, or if that is empty ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``. Hashes
    made with an older pepper remain valid until it is removed.
    """
    # The length prefix keeps ("ab", "c") and ("a", "bc") apart. JSON of clients may contain lone surrogates.
    message = f"{len(purpose)}:{purpose}{value}".encode("utf-8", "surrogatepass")
    keys: Sequence[str | bytes] = conf.SECRET_PEPPERS or (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    for pepper in keys:
        mac = _keyed(force_bytes(pepper)).copy()
        mac.update(message)
        yield mac.hexdigest()


# By the pepper itself, so that a changed setting takes effect at once. To derive and schedule the key takes longer than
# the MAC of a short message.
@lru_cache(maxsize=16)
def _keyed(pepper: bytes) -> hmac.HMAC:
    # The key is derived, so that no hash equals a MAC that Django computes with the same SECRET_KEY.
    return hmac.new(hashlib.sha256(b"dovetail.secrets" + pepper).digest(), digestmod=hashlib.sha256)
