"""Which organization a member of staff works for in the admin site: chosen by them, kept in their session."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_permission_codename
from django.db.models import CharField, Q, QuerySet
from django.http import HttpRequest

from dovetail_tenancy import get_membership_model, get_organization_model
from dovetail_tenancy.isolation.scope import Slot, fill_slot, organization_key
from dovetail_tenancy.services.locks import field

logger = logging.getLogger("dovetail.tenancy")

SESSION_KEY = "dovetail_tenancy_organization"
ALL = "*"


@dataclass(frozen=True)
class Choice:
    """One organization, all of them, or none yet."""

    organization: Any = None
    everything: bool = False

    def __bool__(self) -> bool:
        return self.everything or self.organization is not None


def choice_of(request: HttpRequest) -> Choice:
    """What is chosen, verified anew by each request: a membership or a permission may have ended since."""
    choice: Choice | None = getattr(request, "tenancy_choice", None)
    if choice is None:
        choice = request.tenancy_choice = _choice(request)  # type: ignore[attr-defined]  # once a request
    return choice


def _choice(request: HttpRequest) -> Choice:
    chosen = request.session.get(SESSION_KEY)
    if chosen not in (None, ALL) and (organization := _find(request, chosen)) is not None:
        return Choice(organization)
    if may_see_all(request):
        return Choice(everything=True)
    own = list(organizations_for(request)[:2])
    return Choice(own[0]) if len(own) == 1 else Choice()


def may_see_all(request: HttpRequest) -> bool:
    """Who may view every organization in the admin site may choose any, and all at once."""
    options = get_organization_model()._meta
    user: Any = request.user
    return bool(user.has_perm(f"{options.app_label}.{get_permission_codename('view', options)}"))


def organizations_for(request: HttpRequest, search: str = "") -> QuerySet[Any]:
    """Those that the person may choose, whose name, title or slug contains ``search``."""
    model = get_organization_model()
    found = model._default_manager.order_by("pk")
    if not may_see_all(request):
        memberships = get_membership_model()._default_manager.filter(user=request.user.pk)
        found = found.filter(pk__in=memberships.values("organization"))
    names = [name for name in ("name", "title", "slug") if isinstance(field(model, name), CharField)]
    for word in search.replace("\0", "").split():
        found = found.filter(Q.create([(f"{name}__icontains", word) for name in names], Q.OR))
    return found


def _find(request: HttpRequest, key: Any) -> Any:
    try:
        return organizations_for(request).filter(pk=organization_key(key)).first()
    except ValueError:
        return None


def choose(request: HttpRequest, key: str) -> bool:
    """Keep the choice in the session; False, and nothing changed, for what is not the person's to choose."""
    if not (may_see_all(request) if key == ALL else _find(request, key)):
        return False
    request.session[SESSION_KEY] = key
    logger.info("admin: organization %s chosen by %s", key, request.user.pk, extra={"organization": key})
    return True


def activate(request: HttpRequest, slot: Slot, reason: str) -> None:
    """Open the request's slot to what is chosen."""
    choice = choice_of(request)
    if choice.everything:
        slot.show_everything(reason=f"all organizations: {reason}")
    elif choice.organization is not None:
        fill_slot(choice.organization)


def switches(view: Any) -> bool:
    """Whether this is a view of an admin site in which an organization is chosen."""
    model_admin = getattr(view, "model_admin", None)
    site = getattr(view, "admin_site", None) or getattr(model_admin, "admin_site", None)
    registered = site._registry.values() if site is not None else ()
    return any(getattr(each, "chooses_organization", False) for each in registered)
