"""Codes and the keys of links: drawing, hashing and parsing."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from dovetail_core.secrets import keyed_hash, keyed_hashes, random_token

#: Eight digits: 26.6 bits, of the at least 20 that OWASP ASVS 5.0 6.5.4 and NIST SP 800-63B-4 3.1.3.2 ask for.
DIGITS: Final = 8
SPACE: Final = 10**DIGITS

_PURPOSE = "dovetail_magiclink.code"
# [0-9] and not \d, which matches full-width and other digits as well.
_CODE = re.compile(rf"[0-9]{{{DIGITS}}}")
_KEY = re.compile(r"[A-Za-z0-9_-]{43}")
# With 10 000 live codes, eight draws in a row collide with a chance of 10^-32.
_DRAWS = 8


@dataclass(frozen=True)
class Secrets:
    """The secrets of a mail, which the database does not hold."""

    code: str = field(repr=False)
    key: str = field(repr=False)


def draw(link: Any, using: str) -> Secrets | None:
    """Give a pending link its code and key. None if it has them already or is no longer pending."""
    pending = type(link)._base_manager.using(using).filter(pk=link.pk, code_hash=None, expires_at__gt=timezone.now())
    pending = pending.exclude(pending_key=None)
    for _ in range(_DRAWS):
        drawn = Secrets(code=f"{secrets.randbelow(SPACE):0{DIGITS}}", key=random_token())
        try:
            with transaction.atomic(using=using):
                stored = pending.update(code_hash=hash_of_code(drawn.code), key_hash=hash_of_key(drawn.key))
        except IntegrityError:
            continue  # another link has this code; with 10 000 live codes, two are equal in 39 of 100 cases
        return drawn if stored else None
    raise RuntimeError(f"{_DRAWS} codes in a row are all in use: the random number generator is broken.")


def hash_of_code(code: str) -> str:
    """A keyed hash. All plain hashes of 8-digit codes fit into a table of 3 GB, or take 15 seconds on one core."""
    return keyed_hash(_PURPOSE, code)


def hashes_of_code(code: str) -> Iterator[str]:
    """The hashes of a code under every accepted pepper."""
    return keyed_hashes(_PURPOSE, code)


def hash_of_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def parse_code(text: str) -> str | None:
    """The code that a person typed, perhaps in groups. None if the text is not a code."""
    code = text.replace(" ", "").replace("-", "") if len(text) < 64 else ""
    return code if _CODE.fullmatch(code) else None


def parse_key(text: str) -> str | None:
    return text if _KEY.fullmatch(text) else None
