"""A request and its answer, wherever they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Exchange:
    """``body`` is None where it is streamed and nobody has read it; ``sent`` where the request is not looked at."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = b""
    sent: bytes | None = None
    sent_type: str = ""

    @classmethod
    def of(cls, response: Any, *, sent: bytes | None = None) -> Exchange:
        """Of an answer of Django's test clients, sync or async."""
        request = getattr(response, "wsgi_request", None) or response.asgi_request
        return cls(
            method=request.method,
            path=request.path_info,
            status=response.status_code,
            headers=response.headers,
            body=None if response.streaming else response.content,
            sent=sent,
            sent_type=request.META.get("CONTENT_TYPE", ""),
        )

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)
