"""``TenantMiddleware``, which opens a scope for each request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase, StreamingHttpResponse

from dovetail_core.middleware import Middleware
from dovetail_tenancy.conf import conf
from dovetail_tenancy.isolation.scope import Slot, in_report_mode
from dovetail_tenancy.organizations.admin_choice import activate_choice, uses_organization_choice
from dovetail_tenancy.organizations.resolution import (
    OrganizationMismatch,
    OrganizationNotFound,
    OrganizationRequired,
    resolve_organization,
)


class TenantMiddleware(Middleware):
    """Opens an empty slot for the request's organization and closes it after the response.

    Until the slot is filled, no organization's rows are visible, whatever was active before. DRF views fill it by the
    ``InOrganization`` permission. For a plain Django view with a signed-in user, the first query resolves the
    organization. Place it after the authentication middleware.
    """

    def respond(self, request: HttpRequest) -> HttpResponseBase:
        with _open_slot(request) as slot:
            return _with_scoped_stream(self.get_response(request), slot)

    async def arespond(self, request: HttpRequest) -> HttpResponseBase:
        with _open_slot(request) as slot:
            return _with_scoped_stream(await self.get_response(request), slot)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        match = request.resolver_match
        by_choice = uses_organization_choice(view)
        if match is None or not (by_choice or not set(conf.UNSCOPED_NAMESPACES).isdisjoint(match.namespaces)):
            return
        # Last, because loading the user costs a query.
        user = getattr(request, "user", None)
        if user is None or not (user.is_active and user.is_staff):
            return
        slot: Slot = request.tenancy_slot  # type: ignore[attr-defined]  # set by _open_slot
        reason = f"{match.namespace}: {request.method} {match.view_name} by {user.pk}"
        if by_choice:
            activate_choice(request, slot, reason)
        else:
            slot.show_everything(reason=reason)


def _open_slot(request: HttpRequest) -> Slot:
    slot = Slot(lambda: _resolve(request))
    request.tenancy_slot = slot  # type: ignore[attr-defined]  # read by process_view
    return slot


def _resolve(request: HttpRequest) -> Any:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    try:
        return resolve_organization(request)
    except (OrganizationRequired, OrganizationMismatch, OrganizationNotFound) as error:
        if in_report_mode():
            # A view that does not know organizations yet must keep working; the access itself is reported.
            return None
        raise _http_error(error) from error


def _http_error(error: Exception) -> Exception:
    if isinstance(error, OrganizationRequired):
        return BadRequest(str(error))
    return PermissionDenied(str(error)) if isinstance(error, OrganizationMismatch) else Http404()


def _with_scoped_stream(response: HttpResponseBase, slot: Slot) -> HttpResponseBase:
    """Run the iterator of a streaming response in the request's scope; the server consumes it after the middleware."""
    if isinstance(response, StreamingHttpResponse):
        stream: Any = response.streaming_content
        response.streaming_content = _astream(stream, slot) if response.is_async else _stream(stream, slot)
    return response


def _stream(parts: Iterator[bytes], slot: Slot) -> Iterator[bytes]:
    # Entered for each part, because this thread may run other code between two parts.
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
