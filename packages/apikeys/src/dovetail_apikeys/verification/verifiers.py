"""The format of our own keys, and verifiers of these and of keys imported from other libraries.

Our keys are ``<brand>_<environment>_`` + 12 characters of id + 32 of secret + 6 of checksum, in base 62. 32 characters
are 190 bits (GitHub's tokens have 178). The last part has no underscores, so that a double click selects it as one
word. The checksum is the CRC-32 of everything before it, as in GitHub's and npm's tokens: it rejects typing errors and
guesses without a query, and lets a secret scanner distinguish a key from similar text.

A verifier returns the stored prefix of a key of its kind, and compares a key with a hash of its scheme. Hashes are
stored as ``<scheme>$<hash>``. The first use of an imported key (``API_KEYS_VERIFIERS``) replaces its hash with ours;
the prefix by which it is looked up stays the same.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from typing import ClassVar, Final

from django.contrib.auth.hashers import check_password
from django.utils.crypto import constant_time_compare

from dovetail_apikeys.conf import conf, imported

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH: Final = 12
SECRET_LENGTH: Final = 32
CHECKSUM_LENGTH: Final = 6
_PATTERN: Final = re.compile(
    rf"([a-z][a-z0-9]*_[a-z][a-z0-9]*_[0-9A-Za-z]{{{ID_LENGTH}}})[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}"
)
#: Two digits at a time, because every request with a key computes a checksum.
_PAIRS: Final = tuple(first + second for first in ALPHABET for second in ALPHABET)
#: The longest key of any kind, including imported keys. Longer text is rejected before it is hashed.
LONGEST: Final = 256


class RawKey(str):
    """A key in plain text whose ``repr`` hides it.

    Tracebacks with local variables, Django's debug page and ``%r`` in a log use ``repr``. ``sensitive_variables`` is
    not enough: Django ignores it if ``DEBUG`` is on, and it covers our frames but not those of our callers.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'********************'"


def generate() -> RawKey:
    text = "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH + SECRET_LENGTH))
    text = f"{conf.BRAND}_{conf.ENVIRONMENT}_{text}"
    return RawKey(text + checksum(text))


def checksum(text: str) -> str:
    rest, last = divmod(zlib.crc32(text.encode("ascii")), 62**2)
    first, middle = divmod(rest, 62**2)
    return _PAIRS[first] + _PAIRS[middle] + _PAIRS[last]


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
    """Our own keys, of any brand. 190 random bits need no salt, no pepper and no slow hash (OWASP ASVS 5.0 6.5.2).

    The hash does not depend on ``SECRET_KEY``, because rotating it must not invalidate customers' keys.
    """

    scheme = "v1"
    keywords = frozenset({"bearer"})

    def prefix_of(self, raw: str) -> str | None:
        match = _PATTERN.fullmatch(raw)
        if match is None or checksum(raw[:-CHECKSUM_LENGTH]) != raw[-CHECKSUM_LENGTH:]:
            return None
        return match[1]

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
