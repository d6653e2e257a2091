"""The organization that a staff user has chosen in the admin site. The choice is stored in the session."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_permission_codename
from django.db.models import CharField, Q, QuerySet
from django.http import HttpRequest

from dovetail_tenancy.isolation.organization_model import get_organization_model
from dovetail_tenancy.organizations.project_models import concrete_field, find_row, get_membership_model

logger = logging.getLogger("dovetail.tenancy")

SESSION_KEY = "dovetail_tenancy_organization"
ALL = "*"


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
        memberships = get_membership_model()._default_manager.filter(user=request.user.pk)
        organizations = organizations.filter(pk__in=memberships.values("organization"))
    names = [name for name in ("name", "title", "slug") if isinstance(concrete_field(model, name), CharField)]
    for word in search.replace("\0", "").split():
        organizations = organizations.filter(Q.create([(f"{name}__icontains", word) for name in names], Q.OR))
    return organizations


def choose(request: HttpRequest, key: str) -> bool:
    """Store the choice in the session and return True, or return False if the user may not choose it."""
    if not (may_see_all(request) if key == ALL else find_row(selectable_organizations(request), key)):
        return False
    request.session[SESSION_KEY] = key
    logger.info("admin: organization %s chosen by %s", key, request.user.pk, extra={"organization": key})
    return True


def uses_organization_choice(view: Callable[..., object]) -> bool:
    model_admin = getattr(view, "model_admin", None)
    site = getattr(view, "admin_site", None) or getattr(model_admin, "admin_site", None)
    registered = site._registry.values() if site is not None else ()
    return any(getattr(options, "chooses_organization", False) for options in registered)
