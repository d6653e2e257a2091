"""Codes and link secrets: how they are drawn, kept and read."""

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
# [0-9] and not \d: full-width and other digits are none that were sent.
_CODE = re.compile(rf"[0-9]{{{DIGITS}}}")
_KEY = re.compile(r"[A-Za-z0-9_-]{43}")
# Of 10 000 live codes, eight draws all meet one of them once in 10^32.
_DRAWS = 8


@dataclass(frozen=True)
class Secrets:
    """What a mail carries and the database does not."""

    code: str = field(repr=False)
    key: str = field(repr=False)


def draw(link: Any, using: str) -> Secrets | None:
    """Give a pending link its code and its key. None where it has them already, or is not pending any more."""
    pending = type(link)._base_manager.using(using).filter(pk=link.pk, code_hash=None, expires_at__gt=timezone.now())
    pending = pending.exclude(pending_key=None)
    for _ in range(_DRAWS):
        drawn = Secrets(code=f"{secrets.randbelow(SPACE):0{DIGITS}}", key=random_token())
        try:
            with transaction.atomic(using=using):
                stored = pending.update(code_hash=hash_of_code(drawn.code), key_hash=hash_of_key(drawn.key))
        except IntegrityError:
            continue  # another link has this code: with 10 000 live ones, any two are equal in 39 of 100 cases
        return drawn if stored else None
    raise RuntimeError(f"{_DRAWS} codes that were drawn one after another are all taken: the generator is broken.")


def hash_of_code(code: str) -> str:
    """Keyed: of all 8-digit codes a plain hash is a table of 3 GB, or 15 seconds on one core."""
    return keyed_hash(_PURPOSE, code)


def hashes_of_code(code: str) -> Iterator[str]:
    """Under every pepper that is still accepted."""
    return keyed_hashes(_PURPOSE, code)


def hash_of_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def read_code(text: str) -> str | None:
    """The code in what a person typed, perhaps in groups; None where it is none."""
    code = text.replace(" ", "").replace("-", "") if len(text) < 64 else ""
    return code if _CODE.fullmatch(code) else None


def read_key(text: str) -> str | None:
    return text if _KEY.fullmatch(text) else None
