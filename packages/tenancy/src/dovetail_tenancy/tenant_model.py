from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, ClassVar, Self

from django.db import models

from dovetail_tenancy.fields import OrganizationForeignKey
from dovetail_tenancy.managers import TenantManager, loaded_organization, stamp
from dovetail_tenancy.scope import TenantMismatch, require_scope


class TenantModel(models.Model):
    """A model whose every row belongs to one organization.

    Reads and writes see the active organization's rows (:func:`dovetail_tenancy.tenant`), and with none active raise
    ``TenantRequired``. A new row is given the active organization.
    """

    organization = OrganizationForeignKey()

    objects: ClassVar[TenantManager] = TenantManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any]) -> Self:
        instance = super().from_db(db, field_names, values)
        # So that a row cannot be taken over by giving a loaded instance another organization.
        instance.__dict__["_loaded_organization_id"] = instance.__dict__.get("organization_id")
        return instance

    # save_base, not save: loaddata calls it directly, and would write rows of any organization past a check in save.
    def save_base(
        self,
        raw: bool = False,
        force_insert: bool | tuple[type[models.Model], ...] = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        stamp(self, require_scope(f"Saving a {self._meta.label}"))
        super().save_base(raw, force_insert, force_update, using, update_fields)
        self.__dict__["_loaded_organization_id"] = self.organization_id

    def delete(self, using: Any = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        scope = require_scope(f"Deleting a {self._meta.label}")
        stamp(self, scope)
        if loaded_organization(self) is None and not scope.everything:
            # An instance made by hand, with any primary key: Django deletes by that key alone.
            if not type(self)._base_manager.using(using or self._state.db).filter(pk=self.pk).exists():
                raise TenantMismatch(f"There is no {self._meta.label} {self.pk} in the active organization.")
        return super().delete(using, keep_parents)
