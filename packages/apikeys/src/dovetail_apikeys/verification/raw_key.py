"""The type of raw keys, which hides them from logs, and the format of our own keys.

``<brand>_<environment>_`` + 12 characters of id + 32 of secret + 6 of checksum, in base 62. 32 characters are 190 bits
(GitHub's tokens have 178). The last part has no underscores, so that a double click selects it as one word. The
checksum is the CRC-32 of everything before it, as in GitHub's and npm's tokens: it rejects typing errors and guesses
without a query, and lets a secret scanner distinguish a key from similar text.
"""

from __future__ import annotations

import re
import secrets
import string
import zlib
from typing import Final

from dovetail_apikeys.conf import conf

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
    return with_checksum(f"{conf.BRAND}_{conf.ENVIRONMENT}_{text}")


def with_checksum(text: str) -> RawKey:
    return RawKey(text + checksum(text))


def checksum(text: str) -> str:
    rest, last = divmod(zlib.crc32(text.encode("ascii")), 62**2)
    first, middle = divmod(rest, 62**2)
    return _PAIRS[first] + _PAIRS[middle] + _PAIRS[last]


def prefix_of(raw: str) -> str | None:
    """Return the part of the key, of any brand, that is stored in plain text. None for a malformed key."""
    match = _PATTERN.fullmatch(raw)
    if match is None or checksum(raw[:-CHECKSUM_LENGTH]) != raw[-CHECKSUM_LENGTH:]:
        return None
    return match[1]
