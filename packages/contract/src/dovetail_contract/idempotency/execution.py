"""Run one request with an idempotency key: claim the key, call the view, store the response.

The claim comes after authentication, permissions and throttles, so that a replay is authorized again, and before the
view's handler. ``IdempotencyMiddleware`` calls :meth:`Execution.attach` with the view instance, which replaces the
handler with a guarded one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
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
from dovetail_contract.conf import conf, contract_of
from dovetail_contract.correlation import remember_organization
from dovetail_contract.idempotency import keys, recovery
from dovetail_contract.problems.builder import Problem, problem

MODES = ("off", "optional", "required")
# Headers to store. Cookies, rate limits and the request id belong to a single request and are never stored.
_STORED_HEADERS = (
    "Content-Type",
    "Content-Language",
    "Content-Disposition",
    "Location",
    "ETag",
    "Last-Modified",
    "Link",
)
# A raised refusal with one of these statuses frees the key, because the same request may succeed later.
_NOT_STORED = frozenset({400, 401, 403, 404, 405, 406, 408, 412, 413, 415, 425, 429})


def mode(view: object) -> str:
    """Return ``off``, ``optional`` or ``required``: from the view, else from ``CONTRACT_IDEMPOTENCY_DEFAULT``."""
    return str(contract_of(view).get("idempotency", conf.IDEMPOTENCY_DEFAULT))


def begin(request: HttpRequest, view: Callable[..., HttpResponseBase]) -> Execution | None:
    """Return the execution of a request that has a key or lacks a required one; None for other requests.

    The caller checks the method.
    """
    view_class = getattr(view, "cls", None)
    if view_class is None or not issubclass(view_class, APIView):
        return None
    header = request.META.get("HTTP_IDEMPOTENCY_KEY")
    view_mode = mode(view)
    if view_mode == "off" or (view_mode == "optional" and header is None):
        return None
    return Execution(request, header, contract_of(view))


class Execution:
    """``run`` calls the view, ``attach`` gets its instance, and ``_guard`` and ``_finish`` wrap its handler."""

    def __init__(self, request: HttpRequest, header: str | None, contract: Mapping[str, Any]) -> None:
        self.request = request
        self.header = header
        self.contract = contract
        self.external = bool(contract.get("external"))
        self.claim: services.Claim | None = None
        self.atomic: Any = None
        self.key = ""
        self.replayed = False

    def run(
        self, view: Callable[..., HttpResponseBase], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> HttpResponseBase:
        """Call the view without the transaction of ``ATOMIC_REQUESTS``, which would include the claim."""
        try:
            response = view(self.request, *args, **kwargs)
        finally:
            self._abandon()
        if self.key:
            response.headers["Idempotency-Key"] = self.key
        if self.replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    def attach(self, view: APIView) -> None:
        method = str(self.request.method).lower()
        handler = getattr(view, method, None)
        if handler is not None and method in view.http_method_names:
            setattr(view, method, partial(self._guard, handler))
            finish = partial(self._finish, view.finalize_response)
            view.finalize_response = finish  # type: ignore[method-assign, assignment]

    def _guard(self, handler: Callable[..., Any], request: Request, *args: Any, **kwargs: Any) -> Any:
        if self.header is None:
            raise Problem("idempotency_key_required")
        identity = keys.identity(request, keys.parse(self.header))
        if identity is None:
            return handler(request, *args, **kwargs)
        self.key = identity["key"]
        claimed = services.claim(
            digest=keys.digest(*identity.values()),
            fingerprint=keys.fingerprint(request),
            identity=identity,
            external=self.external,
            retention_hours=self.contract.get("idempotency_hours"),
        )
        if not isinstance(claimed, services.Claim):
            return self._replay(claimed)
        self.claim = claimed
        if claimed.unfinished is not None:
            recovered = self._recovered(request, claimed.unfinished)
            if recovered is not None:
                return recovered
        self._enter()
        try:
            return handler(request, *args, **kwargs)
        except BaseException:
            # An exception rolls back what the handler wrote. A returned response commits it, whatever its status, so
            # a view that counts attempts must return its refusal.
            self._leave(*sys.exc_info())
            raise

    def _recovered(self, request: Request, record: AbstractIdempotencyRecord) -> HttpResponseBase | None:
        try:
            outcome = recovery.find_outcome(self.contract, request, record)
        except BaseException:
            # Unlike a refusal by the view, an exception in the function does not free the key.
            self._abandon()
            raise
        if outcome is recovery.Outcome.NOT_DONE:
            return None
        if isinstance(outcome, recovery.Outcome):
            self._abandon()
            raise Problem("idempotency_outcome_unknown")
        self.replayed = True
        # Stored like a response of the view, and replayed to later requests.
        self._enter()
        return outcome

    def _finish(
        self, finalize: Callable[..., Any], request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        response = finalize(request, response, *args, **kwargs)
        if self.claim is None:
            return response
        raised = self.atomic is None
        if response.status_code >= 500:
            self._abandon()
            return response
        if raised and response.status_code in _NOT_STORED:
            self._abandon(refused=True)
            return response
        if raised:
            self._enter()
        try:
            stored = services.complete(claim=self.claim, status=response.status_code, **_stored(response))
            if not stored:
                transaction.set_rollback(True, using=services.database())
            self._leave(None, None, None)
        except BaseException:
            self._leave(*sys.exc_info())
            raise
        claim, self.claim = self.claim, None
        if stored:
            return response
        refusal = services.in_progress(claim=claim)
        return problem(refusal.status_code, refusal.code, headers=refusal.headers)

    def _replay(self, record: AbstractIdempotencyRecord) -> HttpResponse:
        self.replayed = True
        remember_organization(self.request)
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
        """Roll back an open transaction and free the key. Do nothing after the response is stored.

        Only a refusal frees the key of external work: work that raised an exception may have had its effect.
        """
        if self.atomic is not None:
            transaction.set_rollback(True, using=services.database())
            self._leave(None, None, None)
        claim, self.claim = self.claim, None
        if claim is not None and self.external and not refused:
            services.leave_open(claim=claim)
        elif claim is not None:
            services.release(claim=claim)


def _stored(response: HttpResponseBase) -> dict[str, Any]:
    body: bytes | None = None
    # A no-store response has a secret, which would be stored in plain text.
    if not response.streaming and "no-store" not in response.headers.get("Cache-Control", ""):
        if isinstance(response, Response):
            # Rendered here, so that the bytes are stored in the transaction of the view.
            response.render()
        body = bytes(response.content)  # type: ignore[attr-defined]  # responses that do not stream have it
    if body is not None and len(body) > conf.IDEMPOTENCY_MAX_BYTES:
        body = None
    return {
        "headers": {name: response.headers[name] for name in _STORED_HEADERS if name in response.headers},
        "body": body,
    }
