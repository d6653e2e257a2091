"""The operations of the API, from its schema, and a valid request for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from tests.composed.worlds import BODIES, SENDERS, World

METHODS = {"get", "post", "put", "patch", "delete"}
_IN_ORGANIZATION = tuple(
    f"/api/v1/{name}" for name in ("customers", "invoices", "api-keys", "notification", "audit-log", "support-access")
)


@dataclass(frozen=True, order=True)
class Operation:
    name: str
    method: str
    path: str
    has_body: bool
    accepts_idempotency_key: bool

    @property
    def sender(self) -> str:
        """The person of a world who sends the request, by default."""
        return SENDERS.get(self.name, "owner")

    def send(self, world: World, sender: str | None = None, **headers: str) -> Any:
        if not self.path.startswith("/api/auth/jwt/"):
            headers |= getattr(world, sender or self.sender).headers
        if self.path.startswith(_IN_ORGANIZATION):
            headers["X-Organization-ID"] = str(world.organization.pk)
        client = Client(raise_request_exception=False)
        body = {"data": BODIES[self.name](world)} if self.has_body else {}
        method = getattr(client, self.method)
        return method(world.url(self.path), **body, content_type="application/json", headers=headers)


def operations() -> list[Operation]:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    return sorted(
        Operation(
            described["operationId"],
            method,
            path,
            "requestBody" in described,
            {"$ref": "#/components/parameters/IdempotencyKey"} in described.get("parameters", ()),
        )
        for path, item in schema["paths"].items()
        for method, described in item.items()
        if method in METHODS
    )


def write_operations() -> list[Operation]:
    return [operation for operation in operations() if operation.method != "get"]
