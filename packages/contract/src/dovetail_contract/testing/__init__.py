"""For the test suites of projects: counts that are forgotten, and answers that are held against the schema.

``dovetail-contract[testing]`` names the versions that this needs. Nothing here needs pytest.
"""

from __future__ import annotations

from dovetail_contract.ratelimit import failures
from dovetail_contract.ratelimit.limiter import limiter
from dovetail_contract.testing.clients import (
    AsyncSchemaClient,
    SchemaClient,
    SchemaTestMixin,
    held_to_schema,
)
from dovetail_contract.testing.exchanges import Exchange
from dovetail_contract.testing.rules import SchemaRules, unchecked
from dovetail_contract.testing.schemas import Schema, SchemaMismatch

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
    """Forget what this process has counted, so that no test inherits another's. Counts in Redis stay."""
    failures.forget()
    limiter().local.clear()
