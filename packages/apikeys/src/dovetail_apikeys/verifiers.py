"""How keys are recognized: ours, and those that were imported from other libraries (``API_KEYS_VERIFIERS``).

A verifier answers two questions. Which stored prefix does this key have, if it is of my kind? Does it match this hash,
which was made by my scheme? Hashes are stored as ``<scheme>$<hash>``. A key that matches by another scheme than ours
gets our hash on use; its prefix, by which it is found, stays.
"""

from __future__ import annotations

import hashlib
import re
from typing import ClassVar, Final

from django.contrib.auth.hashers import check_password
from django.utils.crypto import constant_time_compare

from dovetail_apikeys import raw_key
from dovetail_apikeys.conf import conf, imported


class Verifier:
    #: What stands before the first ``$`` of the hashes that it made.
    scheme: ClassVar[str]
    #: The words before the key in ``Authorization``, in lower case.
    keywords: ClassVar[frozenset[str]] = frozenset()

    def prefix_of(self, raw: str) -> str | None:
        """The prefix under which such a key is stored, or None for what is no key of this kind."""
        raise NotImplementedError

    def verify(self, raw: str, hashed: str) -> bool:
        """Whether ``raw`` is the key of which ``hashed`` (without the scheme) was made, in constant time."""
        raise NotImplementedError


class SHA256(Verifier):
    """Our own. 190 random bits need neither salt nor pepper nor a slow hash (OWASP ASVS 5.0 6.5.2).

    It depends on no key of the project's: rotating ``SECRET_KEY`` must not void what customers hold.
    """

    scheme = "v1"
    keywords = frozenset({"bearer"})

    def prefix_of(self, raw: str) -> str | None:
        return raw_key.prefix_of(raw)

    def verify(self, raw: str, hashed: str) -> bool:
        return constant_time_compare(_sha256(raw), hashed)


class DRFAPIKey(Verifier):
    """Keys of djangorestframework-api-key, ``prefix.secret``: SHA-512 since its version 3, Django's PBKDF2 before."""

    scheme = "drf-api-key"
    keywords = frozenset({"api-key"})
    _SHAPE: Final = re.compile(r"([A-Za-z0-9]{1,8})\.[A-Za-z0-9]{16,128}")

    def prefix_of(self, raw: str) -> str | None:
        found = self._SHAPE.fullmatch(raw)
        return found[1] if found else None

    def verify(self, raw: str, hashed: str) -> bool:
        algorithm, _, digest = hashed.partition("$$")
        if algorithm == "sha512":
            return constant_time_compare(_sha512(raw), digest)
        return check_password(raw, hashed)


class Knox(Verifier):
    """Tokens of django-rest-knox, whose ``digest`` is the SHA-512 of the whole.

    Found by that digest: knox's own ``token_key`` is not unique, and with a ``TOKEN_PREFIX`` of ten characters hardly
    tells any two apart.
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
    """Tokens of ``rest_framework.authtoken``, which stores them as they are sent: imported, they are hashed by us."""

    keywords = frozenset({"token"})
    _SHAPE: Final = re.compile(r"[0-9a-f]{40}")

    def prefix_of(self, raw: str) -> str | None:
        return self.stored_prefix(raw) if self._SHAPE.fullmatch(raw) else None

    @staticmethod
    def stored_prefix(raw: str) -> str:
        return f"authtoken:{_sha256(raw)[:24]}"


OURS: Final = SHA256()


def hashed(raw: str) -> str:
    """What is stored of a key."""
    return f"{OURS.scheme}${_sha256(raw)}"


def verifiers() -> list[Verifier]:
    """Those of ``API_KEYS_VERIFIERS``, for keys that were imported."""
    return [imported(each)() for each in conf.VERIFIERS]


def verify(raw: str, stored: str) -> bool:
    """Whether ``raw`` is the key of which ``stored`` was made, by whichever scheme. Constant time."""
    scheme, _, rest = stored.partition("$")
    if scheme == OURS.scheme:
        return OURS.verify(raw, rest)
    return any(each.verify(raw, rest) for each in verifiers() if each.scheme == scheme)


def is_ours(stored: str) -> bool:
    return stored.startswith(f"{OURS.scheme}$")


def _sha256(raw: str) -> str:
    return hashlib.sha256(raw.encode()).hexdigest()


def _sha512(raw: str) -> str:
    return hashlib.sha512(raw.encode()).hexdigest()
