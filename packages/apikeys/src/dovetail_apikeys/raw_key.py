"""Keys as they are sent, and the text of ours.

``<brand>_<environment>_`` + 12 characters of id + 32 of secret + 6 of checksum, in base 62. The underscores stand in
the front part only, so that a double click takes the rest whole. 32 characters are 190 bits (GitHub's tokens have 178).
The checksum, CRC-32 of all before it as in GitHub's and npm's tokens, turns typing errors and scans away without a
query, and lets a scanner tell a key from a text that looks like one.
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
#: Two digits at once, for every request with a key pays for its checksum.
_PAIRS: Final = tuple(first + second for first in ALPHABET for second in ALPHABET)
#: No key of any kind is longer, ours and those of other libraries. What is, is not even hashed.
LONGEST: Final = 256


class RawKey(str):
    """A key in the clear, that shows itself only where it is written out on purpose.

    Tracebacks with local variables, Django's debug page and ``%r`` in a log go by ``repr``. ``sensitive_variables``
    would not do: Django ignores it where ``DEBUG`` is on, and it covers our frames but not those of our callers.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'********************'"


def generate() -> RawKey:
    text = "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH + SECRET_LENGTH))
    return sealed(f"{conf.BRAND}_{conf.ENVIRONMENT}_{text}")


def sealed(text: str) -> RawKey:
    return RawKey(text + checksum(text))


def checksum(text: str) -> str:
    rest, last = divmod(zlib.crc32(text.encode("ascii")), 62**2)
    first, middle = divmod(rest, 62**2)
    return _PAIRS[first] + _PAIRS[middle] + _PAIRS[last]


def prefix_of(raw: str) -> str | None:
    """The part of a key of ours, of whatever brand, that is stored in the clear, or None for what is malformed."""
    found = _PATTERN.fullmatch(raw)
    if found is None or checksum(raw[:-CHECKSUM_LENGTH]) != raw[-CHECKSUM_LENGTH:]:
        return None
    return found[1]
