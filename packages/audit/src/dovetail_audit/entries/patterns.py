"""Names and texts that are secrets or personal data."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from dovetail_audit.conf import conf
from dovetail_core import redaction
from dovetail_core.conf import cached_until_settings_change
from dovetail_core.redaction import is_secret_name, words_of

_PERSONAL_WORDS: Final = frozenset({
    "email", "emails", "mail", "phone", "mobile", "address", "street", "birthday", "birthdate", "birth", "ssn",
    "username", "surname", "firstname", "lastname", "fullname", "ip", "network", "device", "postal_code",
})  # fmt: skip
_PERSONAL_NAMES: Final = frozenset({"first_name", "last_name", "full_name", "user_agent", "date_of_birth", "user_name"})

_EMAIL: Final = re.compile(r"[^\s@<>\"',;:]{1,64}@[^\s@<>\"',;:]{1,255}\.[^\W\d_]{2,}")
_SHORTEST_KEY: Final = 16


def is_secret(name: str) -> bool:
    """Return whether the values of a field with this name are not recorded."""
    return _is_secret_name()(name)


def is_personal(name: str) -> bool:
    """Return whether the values of a field with this name are personal data."""
    return _is_personal_name()(name)


@cached_until_settings_change
def _is_secret_name() -> Callable[[str], bool]:
    own = frozenset(name.lower() for name in conf.REDACT)
    if not own:
        return is_secret_name

    # Names come from requests too, so the cache is bounded.
    @lru_cache(maxsize=1024)
    def matches(name: str) -> bool:
        return name.lower() in own or not own.isdisjoint(words_of(name)) or is_secret_name(name)

    return matches


@cached_until_settings_change
def _is_personal_name() -> Callable[[str], bool]:
    own = frozenset(name.lower() for name in conf.PERSONAL)

    # Names come from requests too, so the cache is bounded.
    @lru_cache(maxsize=1024)
    def matches(name: str) -> bool:
        lower, words = name.lower(), words_of(name)
        phrase = "_".join(words)
        return (
            lower in own
            or not own.isdisjoint(words)
            or not _PERSONAL_WORDS.isdisjoint(words)
            or phrase in _PERSONAL_WORDS
            or any(phrase == known or phrase.endswith(f"_{known}") for known in _PERSONAL_NAMES)
        )

    return matches


def redact_text(value: str) -> str:
    """Replace tokens, private keys, API keys, credentials in URLs and card numbers within a text."""
    return redaction.redact_text(value, _own_values())


@cached_until_settings_change
def _own_values() -> tuple[re.Pattern[str], ...]:
    return tuple(map(re.compile, conf.REDACT_VALUES))


def has_address(value: str) -> bool:
    """Return whether a text contains an e-mail address."""
    return "@" in value and _EMAIL.search(value) is not None


def is_secret_key(name: str, key: object) -> bool:
    """Return whether a primary key of this name is a secret, such as that of a session or of a token.

    Short keys are natural ones, such as the code of a country.
    """
    return is_secret(name) and len(str(key)) >= _SHORTEST_KEY
