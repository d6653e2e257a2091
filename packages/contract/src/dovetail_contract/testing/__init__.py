"""Helpers for the tests of projects: clients that validate responses against the schema, and a reset of rate limits.

Needs ``dovetail-contract[testing]``, and does not need pytest.
"""

from __future__ import annotations

from dovetail_contract.testing.clients import (
    AsyncSchemaClient,
    SchemaClient,
    SchemaTestMixin,
    held_to_schema,
)
from dovetail_contract.testing.exchanges import Exchange
from dovetail_contract.testing.rules import SchemaRules, unchecked
from dovetail_contract.testing.schemas import Schema, SchemaMismatch
from dovetail_contract.throttling import failures
from dovetail_contract.throttling.limiter import limiter

__all__ = [
    "AsyncSchemaClient",
    "Exchange",
    "Schema",
    "SchemaClient",
    "SchemaMismatch",
    "SchemaRules",
    "SchemaTestMixin",
    "held_to_schema",
    "reset_rate_limits",
    "unchecked",
]


def reset_rate_limits() -> None:
    """Reset the counts of this process, so that tests do not affect each other. Counts in Redis stay."""
    failures.forget()
    limiter().local.clear()
