"""The organization that a staff user has chosen in the admin site. The choice is stored in the session."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib.auth import get_permission_codename
from django.db.models import CharField, Q, QuerySet
from django.http import HttpRequest
from django.urls import ResolverMatch, reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

from dovetail_tenancy.conf import membership_lookups, membership_path
from dovetail_tenancy.isolation.scope import active_scope, get_organization_model
from dovetail_tenancy.organizations.project_models import concrete_field, find_row, get_membership_model

logger = logging.getLogger("dovetail.tenancy")

SESSION_KEY = "dovetail_tenancy_organization"
ALL = "*"
NEXT = "next"


@dataclass(frozen=True)
class Choice:
    organization: Any = None
    everything: bool = False

    def __bool__(self) -> bool:
        return self.everything or self.organization is not None


def get_choice(request: HttpRequest) -> Choice:
    """Return the choice. Each request verifies it again: a membership or a permission may have ended since."""
    choice: Choice | None = getattr(request, "tenancy_choice", None)
    if choice is None:
        choice = request.tenancy_choice = _verified_choice(request)  # type: ignore[attr-defined]  # cached per request
    return choice


def _verified_choice(request: HttpRequest) -> Choice:
    key = request.session.get(SESSION_KEY)
    if key not in (None, ALL) and (organization := find_row(selectable_organizations(request), key)) is not None:
        return Choice(organization)
    if may_see_all(request):
        return Choice(everything=True)
    selectable = list(selectable_organizations(request)[:2])
    return Choice(selectable[0]) if len(selectable) == 1 else Choice()


def visible_organizations(request: HttpRequest) -> QuerySet[Any] | None:
    """Return the chosen organization, none, or None for all: the default of ``DOVETAIL_ADMIN_ORGANIZATIONS``.

    While all organizations are shown, the page of a single row belongs to the organization of that row.
    """
    choice, scope = get_choice(request), active_scope()
    organizations = get_organization_model()._default_manager.all()
    if not choice.everything:
        return organizations.none() if choice.organization is None else organizations.filter(pk=choice.organization.pk)
    if scope is not None and scope.organization_id is not None:
        return organizations.filter(pk=scope.organization_id)
    return None


def may_see_all(request: HttpRequest) -> bool:
    """Return whether the user may choose any organization or all, which needs the admin's permission to view them."""
    options = get_organization_model()._meta
    user: Any = request.user
    return bool(user.has_perm(f"{options.app_label}.{get_permission_codename('view', options)}"))


def selectable_organizations(request: HttpRequest, search: str = "") -> QuerySet[Any]:
    """Return the organizations that the user may choose and whose name, title or slug contains ``search``."""
    model = get_organization_model()
    organizations = model._default_manager.order_by("pk")
    if not may_see_all(request):
        memberships = get_membership_model()._default_manager.filter(**membership_lookups(user=request.user.pk))
        organizations = organizations.filter(pk__in=memberships.values(membership_path("organization")))
    names = searchable_fields()
    for word in search.replace("\0", "").split():
        organizations = organizations.filter(Q.create([(f"{name}__icontains", word) for name in names], Q.OR))
    return organizations


def searchable_fields() -> list[str]:
    """Return the text fields of the organization model, which may be any model, that name an organization."""
    model = get_organization_model()
    return [name for name in ("name", "title", "slug") if isinstance(concrete_field(model, name), CharField)]


def choose(request: HttpRequest, key: str) -> bool:
    """Store the choice in the session and return True, or return False if the user may not choose it."""
    if not (may_see_all(request) if key == ALL else find_row(selectable_organizations(request), key)):
        return False
    request.session[SESSION_KEY] = key
    logger.info("admin: organization %s chosen by %s", key, request.user.pk, extra={"organization": key})
    return True


def site_of(view: Callable[..., object], match: ResolverMatch) -> Any:
    """Return the admin site that the view belongs to, or None."""
    model_admin = getattr(view, "model_admin", None)
    site = getattr(view, "admin_site", None) or getattr(model_admin, "admin_site", None)
    if site is None and apps.is_installed("django.contrib.admin"):
        from django.contrib.admin.sites import all_sites

        # Views that a model admin adds with admin_site.admin_view() do not name their site.
        sites = (site for site in all_sites if site.name in match.namespaces)
        site = next((site for site in sites if any(choosers(site))), None)
    return site


def choosers(site: Any) -> Iterator[Any]:
    """Yield the model admins of the site that have a page on which to choose an organization."""
    registered = site._registry.values() if site is not None else ()
    return (options for options in registered if getattr(options, "chooses_organization", False))


def page_of_choice(request: HttpRequest, options: Any) -> str:
    """Return the address of the page on which to choose an organization, from which staff return to this page."""
    place = f"admin:{options.opts.app_label}_{options.opts.model_name}_organization"
    page = reverse(place, current_app=options.admin_site.name)
    return f"{page}?{urlencode({NEXT: request.get_full_path()})}" if request.method == "GET" else page


def page_after_choice(request: HttpRequest) -> str | None:
    page = request.GET.get(NEXT, "")
    # Otherwise a link to the admin site could lead staff to another site.
    allowed = url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=request.is_secure())
    return page if allowed else None
