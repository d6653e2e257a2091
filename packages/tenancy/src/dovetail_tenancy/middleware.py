"""``TenantMiddleware``, which opens a scope for each request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase, StreamingHttpResponse

from dovetail_core.middleware import Middleware
from dovetail_tenancy.conf import conf
from dovetail_tenancy.isolation.scope import Slot, aiterate_within, fill_slot, in_report_mode, iterate_within
from dovetail_tenancy.organizations.admin_choice import Choice, get_choice, uses_organization_choice
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
    organization; a refusal is answered with 400, 403 or 404. Place it after the authentication middleware.
    """

    def respond(self, request: HttpRequest) -> HttpResponseBase:
        with _open_slot(request) as slot:
            return _with_scoped_stream(self.get_response(request), slot)

    async def arespond(self, request: HttpRequest) -> HttpResponseBase:
        with _open_slot(request) as slot:
            return _with_scoped_stream(await self.get_response(request), slot)

    def process_view(self, request: HttpRequest, view: Callable[..., object], args: object, kwargs: object) -> None:
        match = request.resolver_match
        if match is None:
            return
        unscoped = not set(conf.UNSCOPED_NAMESPACES).isdisjoint(match.namespaces)
        # Django's admin sites have this application namespace. Other views do not pay for the look at its registry.
        if not unscoped and "admin" not in match.app_names:
            return
        by_choice = uses_organization_choice(view)
        if not by_choice and not unscoped:
            return
        # Last, because loading the user costs a query.
        user = getattr(request, "user", None)
        if user is None or not (user.is_active and user.is_staff):
            return
        slot: Slot = request.tenancy_slot  # type: ignore[attr-defined]  # set by _open_slot
        reason = f"{match.namespace}: {request.method} {match.view_name} by {user.pk}"
        choice = get_choice(request) if by_choice else Choice(everything=True)
        if choice.everything:
            slot.show_everything(reason=f"all organizations: {reason}" if by_choice else reason)
        elif choice.organization is not None:
            fill_slot(choice.organization)


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
    except (OrganizationRequired, OrganizationMismatch, OrganizationNotFound):
        if in_report_mode():
            # A view that does not know organizations yet must keep working; the access itself is reported.
            return None
        raise


def _with_scoped_stream(response: HttpResponseBase, slot: Slot) -> HttpResponseBase:
    """Run the iterator of a streaming response in the request's scope; the server consumes it after the middleware."""
    if isinstance(response, StreamingHttpResponse):
        iterate: Any = aiterate_within if response.is_async else iterate_within
        response.streaming_content = iterate(slot, response.streaming_content)
    return response
