"""One request with a key: claim, work and answer.

The claim comes after authentication, permissions and throttles, so that a replay is authorized again, and before the
view's handler. REST framework has no place there that a view cannot override: :func:`install` gives each view instance
of a request with a key a guarded handler, when it makes its request. Nothing else of the framework is touched, and
nothing at all where the middleware is not installed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from dovetail_contract import services
from dovetail_contract.base import AbstractIdempotencyRecord
from dovetail_contract.conf import conf
from dovetail_contract.correlation import remember
from dovetail_contract.declarations import contract_of
from dovetail_contract.idempotency import keys, recovery
from dovetail_contract.problems.builder import Problem, problem

MODES = ("off", "optional", "required")
_ATTRIBUTE = "_dovetail_idempotency"
# What belongs to the answer and not to the request that brought it. Never cookies, rate limits or the request's id.
_KEPT = ("Content-Type", "Content-Language", "Content-Disposition", "Location", "ETag", "Last-Modified", "Link")
# Refusals of the caller or the moment, not results of the work.
_NOT_KEPT = frozenset({400, 401, 403, 404, 405, 406, 408, 412, 413, 415, 425, 429})


def mode(view: Any) -> str:
    """``off``, ``optional`` or ``required``: the view's own word, else ``CONTRACT_IDEMPOTENCY_DEFAULT``."""
    return str(contract_of(view).get("idempotency", conf.IDEMPOTENCY_DEFAULT))


def begin(request: HttpRequest, view: Any) -> Execution | None:
    """The execution of a request that has a key, or lacks the one it needs; None for any other."""
    view_class = getattr(view, "cls", None)
    if view_class is None or request.method not in conf.IDEMPOTENCY_METHODS or not issubclass(view_class, APIView):
        return None
    header = request.META.get("HTTP_IDEMPOTENCY_KEY")
    chosen = mode(view)
    if chosen == "off" or (chosen == "optional" and header is None):
        return None
    return Execution(request, header, contract_of(view))


def install() -> None:
    """Let view instances ask for their execution. Called by the middleware; once is enough."""
    original = APIView.initialize_request
    if getattr(original, _ATTRIBUTE, False):
        return

    def initialize_request(view: APIView, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        execution: Execution | None = getattr(request, _ATTRIBUTE, None)
        if execution is not None:
            execution.attach(view)
        return original(view, request, *args, **kwargs)

    setattr(initialize_request, _ATTRIBUTE, True)
    APIView.initialize_request = initialize_request  # type: ignore[method-assign, assignment]


class Execution:
    """``run`` calls the view, whose instance comes by ``attach``; ``_guard`` and ``_finish`` stand around its work."""

    def __init__(self, request: HttpRequest, header: str | None, contract: Mapping[str, Any]) -> None:
        self.request = request
        self.header = header
        self.contract = contract
        self.external = bool(contract.get("external"))
        self.claim: services.Claim | None = None
        self.atomic: Any = None
        self.key = ""
        self.replayed = False

    def run(self, view: Callable[..., HttpResponseBase], args: Any, kwargs: Mapping[str, Any]) -> HttpResponseBase:
        """Call the view, without the transaction that ``ATOMIC_REQUESTS`` would open around the claim as well."""
        setattr(self.request, _ATTRIBUTE, self)
        try:
            response = view(self.request, *args, **kwargs)
        finally:
            self._abandon()
        if self.key:
            response.headers["Idempotency-Key"] = self.key
        if self.replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    def attach(self, view: Any) -> None:
        method = str(self.request.method).lower()
        handler = getattr(view, method, None)
        if handler is not None and method in view.http_method_names:
            setattr(view, method, partial(self._guard, handler))
            view.finalize_response = partial(self._finish, view.finalize_response)

    def _guard(self, handler: Callable[..., Any], request: Request, *args: Any, **kwargs: Any) -> Any:
        if self.header is None:
            raise Problem("idempotency_key_required")
        identity = keys.identity(request, keys.parse(self.header))
        if identity is None:
            return handler(request, *args, **kwargs)
        self.key = identity["key"]
        found = services.claim(
            digest=keys.digest(*identity.values()),
            fingerprint=keys.fingerprint(request),
            identity=identity,
            external=self.external,
            retention_hours=self.contract.get("idempotency_hours"),
        )
        if isinstance(found, AbstractIdempotencyRecord):
            return self._replay(found)
        self.claim = found
        if found.unfinished is not None:
            told = self._recovered(request, found.unfinished)
            if told is not None:
                return told
        return self._work(handler, request, *args, **kwargs)

    def _recovered(self, request: Request, record: AbstractIdempotencyRecord) -> HttpResponseBase | None:
        """The answer to work that was done, or None for work that was not. One at a time asks: it has the claim."""
        try:
            recover = recovery.declared(self.contract)
            told = recovery.Outcome.UNKNOWN if recover is None else recovery.ask(recover, request, record)
        except BaseException:
            # Whatever it raises is no refusal of the work, which would free the key.
            self._abandon()
            raise
        if told is recovery.Outcome.NOT_DONE:
            return None
        if isinstance(told, recovery.Outcome):
            self._abandon()
            raise Problem("idempotency_outcome_unknown")
        self.replayed = True
        # To be kept as an answer of the work itself is, and given from then on.
        self._enter()
        return told

    def _work(self, handler: Callable[..., Any], request: Request, *args: Any, **kwargs: Any) -> Any:
        self._enter()
        try:
            return handler(request, *args, **kwargs)
        except BaseException:
            # What the handler raises takes back what it wrote. What it returns stays, whatever its status: a view
            # returns a refusal where it has counted an attempt.
            self._leave(*sys.exc_info())
            raise

    def _finish(self, finalize: Callable[..., Any], request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = finalize(request, response, *args, **kwargs)
        if self.claim is None:
            return response
        raised = self.atomic is None
        if response.status_code >= 500:
            self._abandon()
            return response
        if raised and response.status_code in _NOT_KEPT:
            self._abandon(refused=True)
            return response
        if raised:
            self._enter()
        try:
            kept = services.complete(claim=self.claim, status=response.status_code, **_stored(response))
            if not kept:
                transaction.set_rollback(True, using=services.database())
            self._leave(None, None, None)
        except BaseException:
            self._leave(*sys.exc_info())
            raise
        self.claim = None
        return response if kept else problem(409, "idempotency_in_progress", headers={"Retry-After": "1"})

    def _replay(self, record: AbstractIdempotencyRecord) -> HttpResponse:
        self.replayed = True
        remember(self.request)
        if record.body is None:
            location = record.headers.get("Location")
            raise Problem("idempotency_not_replayable", headers={"Location": location} if location else None)
        return HttpResponse(bytes(record.body), status=record.status, headers=record.headers)

    def _enter(self) -> None:
        self.atomic = transaction.atomic(using=services.database())
        self.atomic.__enter__()

    def _leave(self, *exc_info: Any) -> None:
        atomic, self.atomic = self.atomic, None
        if atomic is not None:
            atomic.__exit__(*exc_info)

    def _abandon(self, *, refused: bool = False) -> None:
        """Take back what is open and free the key; nothing, once the answer is kept.

        The key of external work is freed only by a refusal: what ended in an exception may have had its effect.
        """
        if self.atomic is not None:
            transaction.set_rollback(True, using=services.database())
            self._leave(None, None, None)
        claim, self.claim = self.claim, None
        if claim is not None and self.external and not refused:
            services.leave_open(claim=claim)
        elif claim is not None:
            services.release(claim=claim)


def _stored(response: Any) -> dict[str, Any]:
    body: bytes | None = None
    # no-store: the answer has a secret in it, which would lie here in plain text.
    if not response.streaming and "no-store" not in response.headers.get("Cache-Control", ""):
        if isinstance(response, Response):
            # The bytes themselves, in the transaction: what is rendered later cannot be stored with the work.
            response.render()
        body = bytes(response.content)
    if body is not None and len(body) > conf.IDEMPOTENCY_MAX_BYTES:
        body = None
    return {"headers": {name: response.headers[name] for name in _KEPT if name in response.headers}, "body": body}
