"""Helpers for the tests of projects: clients that validate responses against the schema, and a reset of rate limits.

Requires ``dovetail-contract[testing]``. Works without pytest.
"""

from __future__ import annotations

import re
import unittest
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar
from unittest import mock

from django.http import HttpResponseBase
from django.test import AsyncClient, Client
from django.test.client import FakePayload
from rest_framework.test import APIClient

from dovetail_contract.conf import conf
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

_Response = TypeVar("_Response", bound=HttpResponseBase)

# Global and not in the context, so that it also covers requests that a test makes in threads.
_unchecked = 0


@contextmanager
def unchecked() -> Iterator[None]:
    """Validate nothing in this block, for requests that are wrong on purpose."""
    global _unchecked
    _unchecked += 1
    try:
        yield
    finally:
        _unchecked -= 1


@dataclass(frozen=True)
class SchemaRules:
    """Which responses are validated, and how.

    ``paths`` lists path prefixes, by default ``CONTRACT_API_PATHS``; ``exclude`` lists prefixes, or patterns to search
    for, that are skipped. ``undocumented`` lists statuses that the document may omit, as ``404`` or ``"5XX"``; a status
    that it does describe is validated. ``requests`` also validates the bodies of successful requests. ``schema`` is the
    document, by default the project's.
    """

    paths: Sequence[str] | None = None
    exclude: Sequence[str | re.Pattern[str]] = ()
    undocumented: Sequence[int | str] = ()
    requests: bool = False
    schema: Schema | None = None

    def __post_init__(self) -> None:
        for name in ("paths", "exclude", "undocumented"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"{name} is the string {getattr(self, name)!r}; it must be a list or tuple.")
        for status in self.undocumented:
            if not re.fullmatch(r"[1-5](\d\d|XX)", str(status).upper()):
                raise ValueError(f"undocumented has {status!r}; use statuses, such as 404, and ranges, such as '5XX'.")

    def includes(self, path: str) -> bool:
        if not path.startswith(tuple(conf.API_PATHS if self.paths is None else self.paths)):
            return False
        return not any(path.startswith(part) if isinstance(part, str) else part.search(path) for part in self.exclude)

    def check(self, exchange: Exchange) -> None:
        """Raise ``SchemaMismatch`` if these rules include the exchange and it does not match the document."""
        if not _unchecked and self.includes(exchange.path):
            statuses = frozenset(str(status).upper() for status in self.undocumented)
            schema = self.schema or Schema.of_project()
            schema.check(exchange, undocumented=statuses, requests=self.requests)

    def check_response(self, response: _Response, sent: bytes | None = None) -> _Response:
        self.check(Exchange.of(response, sent=sent))
        return response


def _body(rules: SchemaRules, request: dict[str, Any], name: str) -> bytes | None:
    """Read the request's body, and replace it, because it can be read only once."""
    if not rules.requests or name not in request:
        return None
    sent: bytes = request[name].read()
    request[name] = FakePayload(sent)
    return sent


class SchemaClient(APIClient):
    """REST framework's client. Validates each response according to ``rules``."""

    rules: ClassVar[SchemaRules] = SchemaRules()

    def request(self, **request: Any) -> Any:
        sent = _body(self.rules, request, "wsgi.input")
        return self.rules.check_response(super().request(**request), sent)


class AsyncSchemaClient(AsyncClient):
    """Django's asynchronous client. Validates each response according to ``rules``."""

    rules: ClassVar[SchemaRules] = SchemaRules()

    async def request(self, **request: Any) -> Any:
        sent = _body(self.rules, request, "_body_file")
        return self.rules.check_response(await super().request(**request), sent)


# Kept from here, so that nested blocks call Django's method and only the innermost rules apply.
_request, _arequest = Client.request, AsyncClient.request


@contextmanager
def held_to_schema(rules: SchemaRules | None = None) -> Iterator[None]:
    """Validate the responses of all test clients in this block: Django's and REST framework's, sync and async.

    In nested blocks, only the innermost rules apply.
    """
    active = rules or SchemaRules()

    def request(self: Client, **request: Any) -> HttpResponseBase:
        sent = _body(active, request, "wsgi.input")
        return active.check_response(_request(self, **request), sent)

    async def arequest(self: AsyncClient, **request: Any) -> HttpResponseBase:
        sent = _body(active, request, "_body_file")
        return active.check_response(await _arequest(self, **request), sent)

    with mock.patch.object(Client, "request", request), mock.patch.object(AsyncClient, "request", arequest):
        yield


class SchemaTestMixin(unittest.TestCase):
    """Put it before Django's or REST framework's test case. Validates all responses according to ``schema_rules``."""

    schema_rules: ClassVar[SchemaRules] = SchemaRules()

    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(held_to_schema(cls.schema_rules))
        super().setUpClass()


def reset_rate_limits() -> None:
    """Reset the counts of this process, so that tests do not affect each other. Counts in Redis are kept."""
    failures.reset()
    limiter().local.clear()
