"""Verifiers of our own keys, and of keys imported from other libraries (``API_KEYS_VERIFIERS``).

A verifier returns the stored prefix of a key of its kind, and compares a key with a hash of its scheme. Hashes are
stored as ``<scheme>$<hash>``. The first use of an imported key replaces its hash with ours; the prefix by which it is
looked up stays the same.
"""

from __future__ import annotations

import hashlib
import re
from typing import ClassVar, Final

from django.contrib.auth.hashers import check_password
from django.utils.crypto import constant_time_compare

from dovetail_apikeys.conf import conf, imported
from dovetail_apikeys.verification import raw_key


class Verifier:
    """The base class of verifiers."""

    #: The part of the stored hashes before the first ``$``.
    scheme: ClassVar[str]
    #: The authentication schemes that precede its keys in ``Authorization``, in lower case.
    keywords: ClassVar[frozenset[str]] = frozenset()

    def prefix_of(self, raw: str) -> str | None:
        """Return the prefix by which the key is stored, or None if ``raw`` is not a key of this kind."""
        raise NotImplementedError

    def verify(self, raw: str, hashed: str) -> bool:
        """Return whether ``hashed`` (without the scheme) is a hash of ``raw``, in constant time."""
        raise NotImplementedError


class SHA256(Verifier):
    """Our own keys. 190 random bits need no salt, no pepper and no slow hash (OWASP ASVS 5.0 6.5.2).

    The hash does not depend on ``SECRET_KEY``, because rotating it must not invalidate customers' keys.
    """

    scheme = "v1"
    keywords = frozenset({"bearer"})

    def prefix_of(self, raw: str) -> str | None:
        return raw_key.prefix_of(raw)

    def verify(self, raw: str, hashed: str) -> bool:
        return constant_time_compare(_sha256(raw), hashed)


class DRFAPIKey(Verifier):
    """Keys of djangorestframework-api-key, ``prefix.secret``, hashed with SHA-512 (PBKDF2 before its version 3)."""

    scheme = "drf-api-key"
    keywords = frozenset({"api-key"})
    _SHAPE: Final = re.compile(r"([A-Za-z0-9]{1,8})\.[A-Za-z0-9]{16,128}")

    def prefix_of(self, raw: str) -> str | None:
        match = self._SHAPE.fullmatch(raw)
        return match[1] if match else None

    def verify(self, raw: str, hashed: str) -> bool:
        algorithm, _, digest = hashed.partition("$$")
        if algorithm == "sha512":
            return constant_time_compare(_sha512(raw), digest)
        return check_password(raw, hashed)


class Knox(Verifier):
    """Tokens of django-rest-knox, whose ``digest`` is the SHA-512 of the whole token.

    The prefix is part of that digest: knox's own ``token_key`` is not unique, and is nearly constant with a
    ``TOKEN_PREFIX`` of ten characters.
    """

    scheme = "knox"
    keywords = frozenset({"token"})
    _SHAPE: Final = re.compile(r"[!-~]{41,200}")

    def prefix_of(self, raw: str) -> str | None:
        return self.stored_prefix(_sha512(raw)) if self._SHAPE.fullmatch(raw) else None

    @staticmethod
    def stored_prefix(digest: str) -> str:
        return f"knox:{digest[:24]}"

    def verify(self, raw: str, hashed: str) -> bool:
        return constant_time_compare(_sha512(raw), hashed)


class DRFAuthToken(SHA256):
    """Tokens of ``rest_framework.authtoken``, which stores them in plain text. The import stores our hash of them."""

    keywords = frozenset({"token"})
    _SHAPE: Final = re.compile(r"[0-9a-f]{40}")

    def prefix_of(self, raw: str) -> str | None:
        return f"authtoken:{_sha256(raw)[:24]}" if self._SHAPE.fullmatch(raw) else None


OURS: Final = SHA256()


def hashed(raw: str) -> str:
    return f"{OURS.scheme}${_sha256(raw)}"


def verifiers() -> list[Verifier]:
    return [imported(verifier)() for verifier in conf.VERIFIERS]


def verify(raw: str, stored: str) -> bool:
    """Return whether ``stored``, a hash of any scheme, is a hash of ``raw``, in constant time."""
    scheme, _, rest = stored.partition("$")
    if scheme == OURS.scheme:
        return OURS.verify(raw, rest)
    return any(verifier.verify(raw, rest) for verifier in verifiers() if verifier.scheme == scheme)


def _sha256(raw: str) -> str:
    return hashlib.sha256(raw.encode()).hexdigest()


def _sha512(raw: str) -> str:
    return hashlib.sha512(raw.encode()).hexdigest()
