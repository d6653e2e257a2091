"""Helpers for the tests of projects: clients that validate responses against the schema, and a reset of rate limits.

Requires ``dovetail-contract[testing]``. Works without pytest.
"""

from __future__ import annotations

from dovetail_contract.testing.clients import (
    AsyncSchemaClient,
    SchemaClient,
    SchemaRules,
    SchemaTestMixin,
    held_to_schema,
    unchecked,
)
from dovetail_contract.testing.schemas import Exchange, Schema, SchemaMismatch
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
    """Reset the counts of this process, so that tests do not affect each other. Counts in Redis are kept."""
    failures.reset()
    limiter().local.clear()
