"""HTTP calls to push services, and to endpoints that users choose. The types here need no HTTP library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

from django.utils import timezone

CALL_SECONDS: Final = 10.0
"""The time limit of a whole call: connecting, the request and the response."""
RESPONSE_BYTES: Final = 64 * 1024
_MAX_RETRY_AFTER: Final = 24 * 3600


class Unreachable(Exception):
    """There was no response. The message is the name of the failure, without the URL."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> int | None:
        """The seconds in ``Retry-After``, a number or a date (RFC 9110 10.2.3); at most a day."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdecimal():
            seconds = int(value[:9])
        else:
            try:
                at = parsedate_to_datetime(value)
            except ValueError:
                return None
            seconds = round((at.replace(tzinfo=at.tzinfo or UTC) - timezone.now()).total_seconds())
        return min(max(seconds, 1), _MAX_RETRY_AFTER)

    def json(self) -> dict[str, Any]:
        """Return the body if it is a JSON object, else an empty dictionary."""
        try:
            body = json.loads(self.body)
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}
