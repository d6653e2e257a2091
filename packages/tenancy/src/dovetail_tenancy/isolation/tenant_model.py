"""The base class of tenant models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from django.apps import apps
from django.db import models, router

from dovetail_tenancy.isolation.fields import OrganizationForeignKey
from dovetail_tenancy.isolation.querysets import MOVED_FROM, TenantManager, assign_organization
from dovetail_tenancy.isolation.scope import TenantMismatch, require_scope


class TenantModel(models.Model):
    """A model whose every row belongs to one organization.

    Reads and writes reach the rows of the active organization (:func:`dovetail_tenancy.tenant`). Without an active
    organization they raise ``TenantRequired``. A new row gets the active organization.
    """

    organization = OrganizationForeignKey()

    objects: ClassVar[TenantManager] = TenantManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        # Before pre_save, so that its receivers see the organization of a new row.
        assign_organization(self, require_scope(f"Saving a {self._meta.label}"))
        super().save_base(*args, **kwargs)

    # Here as well: loaddata and deserialized objects call Model.save_base directly, and would write rows of any
    # organization.
    def _save_table(self, *args: Any, **kwargs: Any) -> bool:
        assign_organization(self, require_scope(f"Saving a {self._meta.label}"))
        written: bool = super()._save_table(*args, **kwargs)  # type: ignore[misc]  # Django's own, not in the stubs
        self.__dict__.pop(MOVED_FROM, None)
        return written

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        scope = require_scope(f"Deleting a {self._meta.label}")
        assign_organization(self, scope)
        # An instance made by hand can have any primary key, and Django deletes by the key alone.
        if not scope.everything and not type(self)._base_manager.using(using).filter(pk=self.pk).exists():
            raise TenantMismatch(f"The active organization has no {self._meta.label} with the key {self.pk}.")
        return super().delete(using, keep_parents)


def tenant_tables(using: str) -> Iterator[type[TenantModel]]:
    """Yield the installed tenant models that have a table in the database ``using``."""
    for model in apps.get_models():
        if issubclass(model, TenantModel) and router.allow_migrate_model(using, model) and not model._meta.proxy:
            yield model
