"""The foreign key from an organization to its contact, who is one of its owners."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.deletion import Collector

from dovetail_core.models import SettingForeignKey
from dovetail_tenancy.organizations.memberships import active_members
from dovetail_tenancy.organizations.role_table import OWNER


class _HandOver:
    """An ``on_delete`` that leaves the contact to a signal receiver, which names another owner or refuses.

    In migrations it is ``PROTECT``. It reports protected organizations only to the collector of Django's admin, where
    a protected object is listed on a page and is not an exception.
    """

    lazy_sub_objs = True
    __name__ = "PROTECT"

    def __call__(self, collector: Collector, field: Any, sub_objs: Any, using: str | None) -> None:
        if not hasattr(collector, "protected"):
            return
        leaving = [user.pk for user in collector.data.get(field.remote_field.model, ())]
        protected = [
            organization
            for organization in sub_objs
            if not active_members(organization.pk, OWNER, using=using or "default").exclude(user__in=leaving).exists()
        ]
        if protected:
            raise models.ProtectedError("The last owner of an organization stays.", set(protected))

    def __eq__(self, other: object) -> bool:
        return other is models.PROTECT or isinstance(other, _HandOver)

    def __hash__(self) -> int:
        return hash(models.PROTECT)


class OwnerForeignKey(SettingForeignKey):
    """The contact of an organization, one of its owners. Deleting that user makes another owner the contact."""

    def __init__(self, to: Any = None, on_delete: Any = None, **kwargs: Any) -> None:
        kwargs = {"setting": "AUTH_USER_MODEL", "inherited": True, **kwargs}
        super().__init__(to, on_delete=_HandOver(), **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        kwargs["on_delete"] = models.PROTECT
        return name, path, args, kwargs
