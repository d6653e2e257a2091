"""Signal receivers that keep an owner in every organization when an account ends outside the services.

This is the only use of signals for a rule. The user model is not ours, and ``user.delete()``, a queryset's
``delete()``, the admin site and cascades do not call the services.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Model, QuerySet
from django.db.models.signals import pre_delete, pre_save

from dovetail_tenancy.isolation.organization_model import get_organization_model
from dovetail_tenancy.organizations.project_models import concrete_field, user_model
from dovetail_tenancy.services.accounts import end_memberships, write_inactive


def connect_receivers() -> None:
    model = user_model()
    pre_delete.connect(before_deletion, sender=model, dispatch_uid="dovetail_tenancy.guard")
    if concrete_field(model, "is_active"):
        pre_save.connect(before_save, sender=model, dispatch_uid="dovetail_tenancy.guard")


def before_deletion(instance: Model, using: str, origin: Any = None, **kwargs: Any) -> None:
    with transaction.atomic(using=using):
        end_memberships(instance, except_in=_deleted_organization_keys(origin), using=using)


def before_save(
    instance: Any, using: str, raw: bool = False, update_fields: frozenset[str] | None = None, **kwargs: Any
) -> None:
    # raw: the rows of a fixture come in any order, users before their memberships.
    if raw or instance.is_active or instance.pk is None:
        return
    if update_fields is None or "is_active" in update_fields:
        write_inactive(instance, using=using)


def _deleted_organization_keys(origin: Any) -> Any:
    """Return the keys of the organizations whose deletion cascades to the user, as a company's to its employees."""
    model = get_organization_model()
    if isinstance(origin, model):
        return {origin.pk}
    if isinstance(origin, QuerySet) and issubclass(origin.model, model):
        return set(origin.model._base_manager.using(origin.db).filter(pk__in=origin).values_list("pk", flat=True))
    return ()
