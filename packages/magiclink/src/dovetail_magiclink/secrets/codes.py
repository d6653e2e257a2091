"""Generate, hash and parse codes and the keys of links."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from dovetail_core.secrets import keyed_hash, keyed_hashes, random_token
from dovetail_magiclink.base import AbstractMagicLink

#: Eight digits are 26.6 bits. OWASP ASVS 5.0 6.5.4 and NIST SP 800-63B-4 3.1.3.2 require at least 20.
DIGITS: Final = 8
SPACE: Final = 10**DIGITS

_PURPOSE = "dovetail_magiclink.code"
# Not \d, which also matches full-width and other non-ASCII digits.
_CODE = re.compile(rf"[0-9]{{{DIGITS}}}")
_KEY = re.compile(r"[A-Za-z0-9_-]{43}")
# With 10 000 live codes, eight draws in a row collide with a chance of 10^-32.
_DRAWS = 8


@dataclass(frozen=True)
class Secrets:
    """The secrets of a mail in plain text. The database stores only their hashes."""

    code: str = field(repr=False)
    key: str = field(repr=False)


def draw(link: AbstractMagicLink, using: str) -> Secrets | None:
    """Set a pending link's code and key. Return None if it has them already or is no longer pending."""
    pending = type(link)._base_manager.using(using).filter(pk=link.pk, code_hash=None, expires_at__gt=timezone.now())
    pending = pending.exclude(pending_key=None)
    for _ in range(_DRAWS):
        drawn = Secrets(code=f"{secrets.randbelow(SPACE):0{DIGITS}}", key=random_token())
        try:
            with transaction.atomic(using=using):
                stored = pending.update(code_hash=hash_of_code(drawn.code), key_hash=hash_of_key(drawn.key))
        except IntegrityError:
            continue  # another link has this code; among 10 000 live codes, the chance of a collision is 39 %
        return drawn if stored else None
    raise RuntimeError(f"{_DRAWS} random codes in a row are already in use: the random number generator is broken.")


def hash_of_code(code: str) -> str:
    """Return a keyed hash. Plain hashes of all 8-digit codes take 15 seconds on one core, or a 3 GB table."""
    return keyed_hash(_PURPOSE, code)


def hashes_of_code(code: str) -> Iterator[str]:
    return keyed_hashes(_PURPOSE, code)


def hash_of_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def parse_code(text: str) -> str | None:
    """Return the code in typed text, which may group its digits. Return None if the text is not a code."""
    code = text.replace(" ", "").replace("-", "") if len(text) < 64 else ""
    return code if _CODE.fullmatch(code) else None


def parse_key(text: str) -> str | None:
    return text if _KEY.fullmatch(text) else None
