"""The base class of tenant models."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models

from dovetail_tenancy.isolation.fields import OrganizationForeignKey
from dovetail_tenancy.isolation.querysets import TenantManager
from dovetail_tenancy.isolation.row_ownership import MOVED_FROM, assign_organization
from dovetail_tenancy.isolation.scope import TenantMismatch, require_scope


class TenantModel(models.Model):
    """A model whose every row belongs to one organization.

    Reads and writes reach the active organization's rows (:func:`dovetail_tenancy.tenant`), and without an active
    organization they raise ``TenantRequired``. A new row gets the active organization.
    """

    organization = OrganizationForeignKey()

    objects: ClassVar[TenantManager] = TenantManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        # Before pre_save, so that its receivers see the organization of a new row.
        self._assign_active_organization()
        super().save_base(*args, **kwargs)

    # Here as well: loaddata and deserialized objects call Model.save_base directly, and would write rows of any
    # organization.
    def _save_table(self, *args: Any, **kwargs: Any) -> bool:
        self._assign_active_organization()
        written: bool = super()._save_table(*args, **kwargs)  # type: ignore[misc]  # Django's own, not in the stubs
        self.__dict__.pop(MOVED_FROM, None)
        return written

    def _assign_active_organization(self) -> None:
        assign_organization(self, require_scope(f"Saving a {self._meta.label}"))

    def delete(self, using: Any = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        scope = require_scope(f"Deleting a {self._meta.label}")
        assign_organization(self, scope)
        # An instance made by hand can have any primary key, and Django deletes by the key alone.
        if not scope.everything and not type(self)._base_manager.using(using).filter(pk=self.pk).exists():
            raise TenantMismatch(f"There is no {self._meta.label} {self.pk} in the active organization.")
        return super().delete(using, keep_parents)
