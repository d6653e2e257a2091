"""``TenantMiddleware``, which opens a scope for each request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase, StreamingHttpResponse
from django.urls import ResolverMatch
from django.utils.cache import patch_vary_headers

from dovetail_core.accounts import may_sign_in
from dovetail_core.middleware import Middleware
from dovetail_tenancy.conf import conf
from dovetail_tenancy.isolation.scope import Slot, aiterate_within, fill_slot, in_report_mode, iterate_within
from dovetail_tenancy.organizations.admin_choice import Choice, choosers, get_choice, page_of_choice, site_of
from dovetail_tenancy.organizations.resolution import (
    HEADER,
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
            return _finish(request, self.get_response(request), slot)

    async def arespond(self, request: HttpRequest) -> HttpResponseBase:
        with _open_slot(request) as slot:
            return _finish(request, await self.get_response(request), slot)

    def process_view(self, request: HttpRequest, view: Callable[..., object], args: object, kwargs: object) -> Any:
        match = request.resolver_match
        if match is None:
            return None
        unscoped = not set(conf.UNSCOPED_NAMESPACES).isdisjoint(match.namespaces)
        # Django's admin sites have this application namespace. Other views do not pay for the look at its registry.
        if not unscoped and "admin" not in match.app_names:
            return None
        chooser = next(choosers(site_of(view, match)), None)
        if chooser is None and not unscoped:
            return None
        # Last, because loading the user costs a query.
        user: Any = getattr(request, "user", None)
        # A user model that is not Django's may have neither attribute.
        if not (getattr(user, "is_staff", False) and may_sign_in(user)):
            return None
        slot: Slot = request.tenancy_slot  # type: ignore[attr-defined]  # set by _open_slot
        reason = f"{match.namespace}: {request.method} {match.view_name} by {user.pk}"
        options = getattr(view, "model_admin", None)
        choice = get_choice(request) if chooser else Choice(everything=True)
        if choice.everything:
            slot.show_everything(reason=f"all organizations: {reason}" if chooser else reason)
        elif choice.organization is not None:
            fill_slot(choice.organization)
            if _is_limited(options, match) and not hasattr(options, "chooses_organization"):
                request.tenancy_named = choice.organization  # type: ignore[attr-defined]  # read below
        elif request.method == "GET" and _is_limited(options, match):
            # Without a choice, the page would be empty.
            return HttpResponseRedirect(page_of_choice(request, chooser))
        return None

    def process_template_response(self, request: HttpRequest, response: Any) -> Any:
        """Name the chosen organization on pages of other packages' model admins, which do not show the bar."""
        if (organization := getattr(request, "tenancy_named", None)) is None:
            return response
        # Any response with render() comes here, such as one of REST framework, which has no context_data.
        if (variables := getattr(response, "context_data", None)) is not None:
            subtitle = variables.get("subtitle")
            variables["subtitle"] = f"{organization} · {subtitle}" if subtitle else str(organization)
        return response


def _is_limited(options: Any, match: ResolverMatch) -> bool:
    """Return whether this page of a model admin shows rows of organizations."""
    return hasattr(options, "organization_field") and not str(match.url_name).endswith("_organization")


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


def _finish(request: HttpRequest, response: HttpResponseBase, slot: Slot) -> HttpResponseBase:
    """Add ``Vary``, and run the iterator of a streaming response in the request's scope.

    The server consumes the iterator after the middleware.
    """
    if getattr(request, "organization_header_read", False):
        # Otherwise a browser's cache shows one organization's rows after the user has switched to another.
        patch_vary_headers(response, [HEADER])
    if isinstance(response, StreamingHttpResponse):
        iterate: Any = aiterate_within if response.is_async else iterate_within
        response.streaming_content = iterate(slot, response.streaming_content)
    return response
