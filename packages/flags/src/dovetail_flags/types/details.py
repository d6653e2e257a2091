from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any


class Reason(StrEnum):
    """Why a flag has its value. The names are those of OpenFeature."""

    STATIC = "STATIC"  # enabled, without rules
    TARGETING_MATCH = "TARGETING_MATCH"  # a rule matched
    SPLIT = "SPLIT"  # a rule matched and chose by percentage
    DEFAULT = "DEFAULT"  # no rule matched
    DISABLED = "DISABLED"  # the flag is disabled
    UNKNOWN = "UNKNOWN"  # a foreign provider gives no reason
    ERROR = "ERROR"  # the caller's default; the error code says why


class ErrorCode(StrEnum):
    """The error codes of OpenFeature."""

    PROVIDER_NOT_READY = "PROVIDER_NOT_READY"
    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
    TYPE_MISMATCH = "TYPE_MISMATCH"
    PARSE_ERROR = "PARSE_ERROR"
    TARGETING_KEY_MISSING = "TARGETING_KEY_MISSING"
    INVALID_CONTEXT = "INVALID_CONTEXT"
    GENERAL = "GENERAL"


@dataclass(frozen=True, slots=True)
class Details:
    """The result of an evaluation.

    ``variant`` is None if ``value`` is the caller's default. ``rule`` is the id of the rule that matched. ``error`` is
    an :class:`ErrorCode` if ``reason`` is ``ERROR``, and ``message`` its text. ``version`` is that of the flag.
    """

    value: Any
    variant: str | None = None
    reason: str = Reason.UNKNOWN
    rule: str | None = None
    error: str | None = None
    version: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a provider has read its flags lately.

    ``stale_since`` is the time (UTC) of the first failure after the last success, and ``error`` its last text.
    ``loaded_at`` is None if the flags were never read: then each evaluation returns its default.
    """

    provider: str
    healthy: bool
    flags: int | None = None
    loaded_at: datetime | None = None
    stale_since: datetime | None = None
    error: str = ""


def own_value(value: Any) -> Any:
    """Return a copy of an object or list: a caller that changes it would change it for all other callers."""
    return copy.deepcopy(value) if isinstance(value, (dict, list)) else value


def failure(default: Any, error: ErrorCode, message: str, version: int | None = None) -> Details:
    return Details(default, None, Reason.ERROR, None, error, version, message)


def with_default(details: Details, default: Any) -> Details:
    """Return the stored details of a request for a caller with this default."""
    is_default = details.error is not None or (details.variant is None and details.reason == Reason.DEFAULT)
    return replace(details, value=default) if is_default else details
