"""Secrets in names and texts, for records and logs that must not contain any."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

REDACTED: Final = "[redacted]"

# Within any word: no other word contains them.
_SECRET_PARTS: Final = (
    "password", "passwd", "passphrase", "secret", "token", "authorization", "cookie", "credential", "apikey", "otp",
    "jwt",
)  # fmt: skip
# As whole words only: "shipping" contains pin, "monkey" contains key.
_SECRET_WORDS: Final = frozenset({
    "key", "keys", "code", "codes", "pin", "iban", "card", "cvv", "cvc", "pwd", "pass", "salt", "signature", "bearer",
    "csrfmiddlewaretoken",
})  # fmt: skip
# Names that would match, and hold no secret.
_PUBLIC: Final = frozenset({
    "status_code", "error_code", "country_code", "currency_code", "language_code", "postal_code", "product_code",
    "key_prefix", "key_id", "key_ids", "public_key", "primary_key", "foreign_key", "token_type", "token_id",
    "idempotency_key", "organization_key", "sort_key",
})  # fmt: skip

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
# Not within hashes and UUIDs.
_CARD: Final = re.compile(r"(?<![\w-])[2-6](?:[ -]?\d){12,18}(?![\w-])")
_VALUES: Final = (
    re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]*){0,4}"),  # JWT, also one that is cut
    re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"),
    # Our API keys: brand, prefix and at least the beginning of the secret.
    re.compile(r"\b[a-z][a-z0-9]{0,30}_[a-z][a-z0-9]{0,30}_(?=[a-z]*[0-9A-Z])[0-9A-Za-z]{16,}"),
    re.compile(r"\b(?:Bearer|Basic|Api-Key|Token)\s+[\w.~+/=:-]{8,}", re.IGNORECASE),
    re.compile(r"(?<=://)[^/\s:@]{1,100}:[^/\s@]{1,200}(?=@)"),
    re.compile(r"(?<=[?&;])(?:\w{0,20}(?:token|secret|password|signature)\w{0,20}|code|key|k|sig)=[^&;\s]+", re.I),
)  # fmt: skip


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case: ``["card", "number"]`` for ``card_number`` and ``cardNumber``."""
    return [word.lower() for word in _WORD.findall(name)]


# Names come from requests too, so the cache is bounded.
@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Return whether the values of a field with this name are secrets, such as ``newPassword`` or ``api_key``."""
    words = words_of(name)
    if "_".join(words) in _PUBLIC:
        return False
    joined = "".join(words)
    return any(part in joined for part in _SECRET_PARTS) or not _SECRET_WORDS.isdisjoint(words)


def redact_text(value: str, patterns: Iterable[re.Pattern[str]] = ()) -> str:
    """Replace tokens, private keys, API keys, credentials in URLs and card numbers within a text.

    ``patterns`` are further expressions whose matches are replaced. Redact a text before it is cut to a length, because
    half of a secret is not recognized.
    """
    # None of them is shorter.
    if len(value) < 8:
        return value
    for pattern in (*_VALUES, *patterns):
        value = pattern.sub(REDACTED, value)
    return _CARD.sub(lambda match: REDACTED if _is_card(match[0]) else match[0], value)


def _is_card(text: str) -> bool:
    """Return whether the digits pass the check of ISO/IEC 7812 (Luhn)."""
    digits = [int(digit) for digit in text if digit.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
