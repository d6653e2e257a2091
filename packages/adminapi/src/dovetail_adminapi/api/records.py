"""One record for each call: an event, which an audit log stores and which is a line of the log in any case."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Empty, Request

from dovetail_adminapi.api.operations import Operation
from dovetail_adminapi.conf import conf
from dovetail_adminapi.events import ADMIN_DENIED, ADMIN_FAILED, ADMIN_SUCCEEDED
from dovetail_adminapi.redaction import redact, redact_text
from dovetail_core import context, events

logger = logging.getLogger("dovetail.adminapi")

#: The attribute of Django's request that holds its call.
CALL: Final = "dovetail_adminapi_call"
#: The attribute of a request that the middleware has taken over, which then writes the record and the headers.
TAKEN: Final = "_dovetail_adminapi_middleware"
#: Characters of the parameters as JSON. Larger ones are dropped as a whole, except their names.
MAX_PARAMETERS: Final = 8192


@dataclass(slots=True)
class Call:
    """A request that reached the guard, whatever became of it."""

    request: HttpRequest
    #: None for a path or method without an operation.
    operation: Operation | None
    name: str
    started: float = field(default_factory=time.perf_counter)
    rest_request: Request | None = None
    actor: Any = None
    via: str | None = None
    #: Whether the guard refused the call. Until it has decided, every end is a refusal.
    denied: bool = True
    recorded: bool = False
    problem: str = ""
    #: For a page of documentation, which needs scripts and styles.
    policy: str | None = None

    def succeed(self, status: int, *, using: str) -> None:
        """Emit the event of a write in its transaction."""
        self._emit(ADMIN_SUCCEEDED, status, using=using)

    def end(self, response: HttpResponseBase) -> None:
        """Emit the event of a call that has none yet, outside of its transaction."""
        if self.recorded:
            return
        if response.status_code < 400 and not self.denied:
            if conf.RECORD_READS or self.request.method not in SAFE_METHODS:
                # Not caught: what cannot be recorded is not shown.
                self._emit(ADMIN_SUCCEEDED, response.status_code)
            return
        try:
            self.problem = self.problem or _problem_of(response)
            self._emit(ADMIN_DENIED if self.denied else ADMIN_FAILED, response.status_code)
        except Exception:
            logger.exception("The refusal or failure of %s could not be recorded.", self.name)

    def _emit(self, name: str, status: int, *, using: str | None = None) -> None:
        self.recorded = True
        data = {
            "operation": self.name,
            "method": self.request.method,
            "path": redact_text(self.request.path, 500),
            "permission": self.operation.permission if self.operation is not None else None,
            "via": self.via,
            "parameters": self._parameters(),
            "status": status,
            "problem": self.problem or None,
            "milliseconds": round((time.perf_counter() - self.started) * 1000),
            "support_access": None,
        }
        # Without the organization of the request, because a call may concern all of them.
        with context.bind(organization_id=None):
            events.emit(name, actor=self.actor, data=data, using=using)

    def _parameters(self) -> Mapping[str, Any]:
        match = self.request.resolver_match
        parts = {
            "path": dict(match.kwargs) if match is not None else {},
            "query": {name: values if len(values) > 1 else values[0] for name, values in self.request.GET.lists()},
            "body": self._body(),
        }
        sent = {name: part for name, part in parts.items() if part}
        if not sent:
            return sent
        shown: dict[str, Any] = redact(sent)
        if len(json.dumps(shown)) <= MAX_PARAMETERS:
            return shown
        return {name: {"names": list(part)[:20]} if isinstance(part, dict) else {} for name, part in shown.items()}

    def _body(self) -> object:
        """Return the body if the view has parsed it. A refused body is never parsed: it may be as large as allowed."""
        body = getattr(self.rest_request, "_full_data", Empty)
        if body is Empty or self.denied:
            return None
        declared = self.operation.parameters if self.operation is not None else None
        if declared is None or not isinstance(body, Mapping):
            return body
        return {name: value for name, value in body.items() if name in declared}


def _problem_of(response: HttpResponseBase) -> str:
    data = getattr(response, "data", None)
    code = data.get("code") if isinstance(data, Mapping) else None
    return code if isinstance(code, str) else ""
