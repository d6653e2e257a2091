"""Test clients that hold every answer against the schema: one's own, or all that there are."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar
from unittest import mock

from django.test import AsyncClient, Client
from django.test.client import FakePayload
from rest_framework.test import APIClient

from dovetail_contract.testing.rules import SchemaRules


def _taken(rules: SchemaRules, request: dict[str, Any], name: str) -> bytes | None:
    """The body that is about to be sent, which can be read once: it is put back."""
    if not rules.requests or name not in request:
        return None
    sent: bytes = request[name].read()
    request[name] = FakePayload(sent)
    return sent


def _check(rules: SchemaRules, response: Any, sent: bytes | None) -> Any:
    rules.check_response(response, sent)
    return response


class SchemaClient(APIClient):
    """REST framework's client; each answer is held against the schema by ``rules``."""

    rules: ClassVar[SchemaRules] = SchemaRules()

    def request(self, **request: Any) -> Any:
        sent = _taken(self.rules, request, "wsgi.input")
        return _check(self.rules, super().request(**request), sent)


class AsyncSchemaClient(AsyncClient):
    """Django's asynchronous client, likewise."""

    rules: ClassVar[SchemaRules] = SchemaRules()

    async def request(self, **request: Any) -> Any:
        sent = _taken(self.rules, request, "_body_file")
        return _check(self.rules, await super().request(**request), sent)


#: Of what is held within each other: the innermost counts.
_held: list[SchemaRules] = []


@contextmanager
def held_to_schema(rules: SchemaRules | None = None) -> Iterator[None]:
    """Every test client in here, Django's and REST framework's, sync and async, holds its answers by the schema.

    The innermost counts, where one is within another.
    """
    rules = replace(rules or SchemaRules())  # its own object: what is held in turn is told apart by it
    request, arequest = Client.request, AsyncClient.request

    def held(self: Client, **given: Any) -> Any:
        if _held[-1] is not rules:
            return request(self, **given)
        sent = _taken(rules, given, "wsgi.input")
        return _check(rules, request(self, **given), sent)

    async def aheld(self: AsyncClient, **given: Any) -> Any:
        if _held[-1] is not rules:
            return await arequest(self, **given)
        sent = _taken(rules, given, "_body_file")
        return _check(rules, await arequest(self, **given), sent)

    with mock.patch.object(Client, "request", held), mock.patch.object(AsyncClient, "request", aheld):
        _held.append(rules)
        try:
            yield
        finally:
            _held.pop()


class SchemaTestMixin(unittest.TestCase):
    """Before a test case of Django or REST framework: whatever client it uses holds answers by ``schema_rules``."""

    schema_rules: ClassVar[SchemaRules] = SchemaRules()

    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(held_to_schema(cls.schema_rules))
        super().setUpClass()
