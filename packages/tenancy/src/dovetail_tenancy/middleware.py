from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase, StreamingHttpResponse

from dovetail_tenancy.conf import conf
from dovetail_tenancy.isolation.scope import Slot, reporting
from dovetail_tenancy.organizations.resolution import (
    OrganizationMismatch,
    OrganizationNotFound,
    OrganizationRequired,
    resolve_organization,
)


class TenantMiddleware:
    """Opens an empty place for each request's organization and closes it behind the response.

    Until it is filled, nothing of any organization is visible, whatever was active before. DRF's views fill it by the
    ``InOrganization`` permission; for a plain Django view with a signed-in user the organization is found when the
    first query needs it. Stands after the authentication middleware.
    """

    sync_capable = True
    async_capable = True

    def __init__(
        self, get_response: Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[Any]]
    ) -> None:
        self.get_response: Any = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if self.is_async:
            return self.__acall__(request)
        with _slot(request) as slot:
            return _kept_open(self.get_response(request), slot)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        with _slot(request) as slot:
            return _kept_open(await self.get_response(request), slot)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        # Not at the top: settings name this module before models are there.
        from dovetail_tenancy.organizations.admin_choice import activate, switches

        match = request.resolver_match
        chosen = switches(view)
        if match is None or not (chosen or not set(conf.UNSCOPED_NAMESPACES).isdisjoint(match.namespaces)):
            return
        # Asked for last: it is a query of every request's else.
        user = getattr(request, "user", None)
        if user is None or not (user.is_active and user.is_staff):
            return
        slot: Slot = request.tenancy_slot  # type: ignore[attr-defined]  # set when the slot was opened
        reason = f"{match.namespace}: {request.method} {match.view_name} by {user.pk}"
        if chosen:
            activate(request, slot, reason)
        else:
            slot.show_everything(reason=reason)


def _slot(request: HttpRequest) -> Slot:
    slot = Slot(lambda: _organization_of(request))
    request.tenancy_slot = slot  # type: ignore[attr-defined]  # for process_view, which has no other way to it
    return slot


def _organization_of(request: HttpRequest) -> Any:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    try:
        return resolve_organization(request)
    except (OrganizationRequired, OrganizationMismatch, OrganizationNotFound) as error:
        if reporting():
            # A view that knew no organizations must go on answering; the access itself is reported.
            return None
        raise _answer(error) from error


def _answer(error: Exception) -> Exception:
    if isinstance(error, OrganizationRequired):
        return BadRequest(str(error))
    return PermissionDenied(str(error)) if isinstance(error, OrganizationMismatch) else Http404()


def _kept_open(response: HttpResponseBase, slot: Slot) -> HttpResponseBase:
    """Run a streaming response's iterator inside the request's scope: the server consumes it after the middleware."""
    if isinstance(response, StreamingHttpResponse):
        stream: Any = response.streaming_content
        response.streaming_content = _astream(stream, slot) if response.is_async else _stream(stream, slot)
    return response


def _stream(parts: Iterator[bytes], slot: Slot) -> Iterator[bytes]:
    # Entered anew for each part: between two parts this thread may serve other code.
    while True:
        with slot:
            try:
                part = next(parts)
            except StopIteration:
                return
        yield part


async def _astream(parts: AsyncIterator[bytes], slot: Slot) -> AsyncIterator[bytes]:
    while True:
        with slot:
            try:
                part = await anext(parts)
            except StopAsyncIteration:
                return
        yield part
