"""Keeps an owner who can sign in although an account ends past the services: the one use of signals for a rule.

The user model is not ours, and ``user.delete()``, a queryset's, the admin's and a cascade know nothing of services.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Model, QuerySet
from django.db.models.signals import pre_delete, pre_save

from dovetail_tenancy import get_organization_model
from dovetail_tenancy.services.accounts import end_memberships, guard_deactivation
from dovetail_tenancy.services.locks import field, user_model


def install() -> None:
    model = user_model()
    pre_delete.connect(before_deletion, sender=model, dispatch_uid="dovetail_tenancy.guard")
    if field(model, "is_active"):
        pre_save.connect(before_save, sender=model, dispatch_uid="dovetail_tenancy.guard")


def before_deletion(instance: Model, using: str, origin: Any = None, **kwargs: Any) -> None:
    with transaction.atomic(using=using):
        end_memberships(instance, going=_organizations(origin), using=using)


def before_save(
    instance: Any, using: str, raw: bool = False, update_fields: frozenset[str] | None = None, **kwargs: Any
) -> None:
    # raw: a fixture's rows come in any order, the users before their memberships.
    if raw or instance.is_active or instance.pk is None:
        return
    if update_fields is None or "is_active" in update_fields:
        guard_deactivation(instance, using=using)


def _organizations(origin: Any) -> Any:
    """Keys of the organizations whose own deletion takes the user along, as a company may take its employees."""
    model = get_organization_model()
    if isinstance(origin, model):
        return {origin.pk}
    if isinstance(origin, QuerySet) and issubclass(origin.model, model):
        return set(origin.model._base_manager.using(origin.db).filter(pk__in=origin).values_list("pk", flat=True))
    return ()
