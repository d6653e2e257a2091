"""Names and texts that are secrets or personal data."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from dovetail_audit.conf import conf
from dovetail_core.conf import cached_until_settings_change

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
_PERSONAL_WORDS: Final = frozenset({
    "email", "emails", "mail", "phone", "mobile", "address", "street", "birthday", "birthdate", "birth", "ssn",
    "username", "surname", "firstname", "lastname", "fullname", "ip", "network", "device", "postal_code",
})  # fmt: skip
_PERSONAL_NAMES: Final = frozenset({"first_name", "last_name", "full_name", "user_agent", "date_of_birth", "user_name"})

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_EMAIL: Final = re.compile(r"[^\s@<>\"',;:]{1,64}@[^\s@<>\"',;:]{1,255}\.[^\W\d_]{2,}")
_SHORTEST_KEY: Final = 16
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


def is_secret(name: str) -> bool:
    """Return whether the values of a field with this name are not recorded."""
    return _is_secret_name()(name)


def is_personal(name: str) -> bool:
    """Return whether the values of a field with this name are personal data."""
    return _is_personal_name()(name)


@cached_until_settings_change
def _is_secret_name() -> Callable[[str], bool]:
    own = frozenset(name.lower() for name in conf.REDACT)

    # Names come from requests too, so the cache is bounded.
    @lru_cache(maxsize=1024)
    def matches(name: str) -> bool:
        lower, words = name.lower(), _words(name)
        if lower in own or not own.isdisjoint(words):
            return True
        if "_".join(words) in _PUBLIC:
            return False
        joined = "".join(words)
        return any(part in joined for part in _SECRET_PARTS) or not _SECRET_WORDS.isdisjoint(words)

    return matches


@cached_until_settings_change
def _is_personal_name() -> Callable[[str], bool]:
    own = frozenset(name.lower() for name in conf.PERSONAL)

    # Names come from requests too, so the cache is bounded.
    @lru_cache(maxsize=1024)
    def matches(name: str) -> bool:
        lower, words = name.lower(), _words(name)
        phrase = "_".join(words)
        return (
            lower in own
            or not own.isdisjoint(words)
            or not _PERSONAL_WORDS.isdisjoint(words)
            or phrase in _PERSONAL_WORDS
            or any(phrase == known or phrase.endswith(f"_{known}") for known in _PERSONAL_NAMES)
        )

    return matches


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def redact_text(value: str) -> str:
    """Replace tokens, private keys, API keys, credentials in URLs and card numbers within a text."""
    # None of them is shorter.
    if len(value) < 8:
        return value
    for pattern in _VALUES:
        value = pattern.sub(REDACTED, value)
    for pattern in _own_values():
        value = pattern.sub(REDACTED, value)
    return _CARD.sub(lambda match: REDACTED if _is_card(match[0]) else match[0], value)


@cached_until_settings_change
def _own_values() -> tuple[re.Pattern[str], ...]:
    return tuple(map(re.compile, conf.REDACT_VALUES))


def _is_card(text: str) -> bool:
    """Return whether the digits pass the check of ISO/IEC 7812 (Luhn)."""
    digits = [int(digit) for digit in text if digit.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def has_address(value: str) -> bool:
    """Return whether a text contains an e-mail address."""
    return "@" in value and _EMAIL.search(value) is not None


def is_secret_key(name: str, key: object) -> bool:
    """Return whether a primary key of this name is a secret, such as that of a session or of a token.

    Short keys are natural ones, such as the code of a country.
    """
    return is_secret(name) and len(str(key)) >= _SHORTEST_KEY
