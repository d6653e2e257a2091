"""Percentages: which of 100 000 buckets a key falls into.

The bucket is specified byte for byte, so that other languages agree:

1. The input is the flag's salt, a colon (U+003A) and the key, encoded as UTF-8. Halves of surrogate pairs, which UTF-8
   does not have, are encoded as U+FFFD, as in JavaScript.
2. The digest is SHA-256 (FIPS 180-4) of the input.
3. The bucket is the first four bytes of the digest, read as an unsigned big-endian integer, modulo 100 000.

A split ``[["a", 30000], ["b", 70000]]`` serves ``a`` to the buckets 0 to 29 999 and ``b`` to the rest. So a larger
first weight only adds keys to it. ``VECTORS`` holds ten results.

The remainder of 2**32 favors the lower buckets by a factor of 1 + 1/42 949, which no experiment can measure.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

BUCKETS: Final = 100_000

#: Salt, key and bucket.
VECTORS: Final = (
    ("0123456789abcdef", "1", 83062),
    ("0123456789abcdef", "2", 66923),
    ("0123456789abcdef", "user-42", 19984),
    ("0123456789abcdef", "0190a5c8-7b1e-7c3d-9f52-3a1b2c4d5e6f", 69575),
    ("0123456789abcdef", "", 66505),
    ("0123456789abcdef", "Zoë", 31123),
    ("0123456789abcdef", "東京", 9933),
    ("0123456789abcdef", "a:b", 47767),
    ("fedcba9876543210", "1", 48971),
    ("fedcba9876543210", "user-42", 19360),
)


def bucket(salt: str, key: str) -> int:
    """Return the bucket from 0 to 99 999."""
    text = f"{salt}:{key}"
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text).encode()
    return int.from_bytes(sha256(data).digest()[:4]) % BUCKETS
