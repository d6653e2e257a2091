from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from django.db import models

from dovetail_tenancy.expressions import InCurrentTenant
from dovetail_tenancy.row_security.scope import in_database
from dovetail_tenancy.scope import Scope, TenantMismatch, organization_key, require_scope

M = TypeVar("M", bound=models.Model)


class TenantQuerySet(models.QuerySet[M]):
    """Rows of the active organization. Which one that is, is decided when the queryset runs."""

    def for_tenant(self, organization: Any) -> TenantQuerySet[M]:
        """Bound to ``organization`` (an instance or a key), whatever is active when it runs."""
        return self._bound_to(Scope(organization_id=organization_key(organization)))

    def pinned(self) -> TenantQuerySet[M]:
        """Bound to what is active now, for a queryset that runs later or elsewhere (streaming, another thread).

        Raises ``TenantRequired`` where nothing is active.
        """
        return self._bound_to(self._scope("Pinning a query"))

    def _bound_to(self, scope: Scope) -> TenantQuerySet[M]:
        queryset = self.all()
        queryset.query.tenancy_scope = scope  # type: ignore[attr-defined]  # Query.clone() carries it along
        return queryset

    def _scope(self, what: str) -> Scope:
        bound: Scope | None = getattr(self.query, "tenancy_scope", None)
        return bound or require_scope(f"{what} on {self.model._meta.label}")

    def none(self) -> TenantQuerySet[M]:
        # Without the condition: no rows are no rows for whichever organization.
        queryset = self.all()
        queryset.query.clear_where()
        queryset.query.set_empty()
        return queryset

    def raw(self, *args: Any, **kwargs: Any) -> Any:
        # The SQL is the caller's own; that nobody is asking at all can still be refused.
        self._scope("Raw SQL")
        return super().raw(*args, **kwargs)

    def update(self, **kwargs: Any) -> int:
        scope = self._scope("An update")
        if not scope.everything and kwargs.keys() & {"organization", "organization_id"}:
            raise TenantMismatch(
                f"A {self.model._meta.label} cannot be moved to another organization. A migration that must do it "
                "runs under `with unscoped(reason=…):`."
            )
        return super().update(**kwargs)

    def bulk_create(
        self,
        objs: Iterable[M],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[M]:
        scope = self._scope("A bulk_create")
        objs = list(objs)
        for instance in objs:
            stamp(instance, scope)
        if update_conflicts and not scope.everything and "organization" not in (unique_fields or ()):
            # ON CONFLICT (id) DO UPDATE would overwrite whichever row has that key, another organization's too.
            raise TenantMismatch(
                f"bulk_create(update_conflicts=True) on {self.model._meta.label} could overwrite another "
                "organization's row: unique_fields must contain 'organization'."
            )
        with in_database(scope):
            return super().bulk_create(
                objs, batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields
            )

    def delete(self) -> tuple[int, dict[str, int]]:
        # The collector deletes by primary keys, with queries that know nothing of what this one was bound to.
        with in_database(getattr(self.query, "tenancy_scope", None)):
            return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]  # as Django's own: no template calls it
    delete.queryset_only = True  # type: ignore[attr-defined]  # nor is it a manager's


class TenantManager(models.Manager.from_queryset(TenantQuerySet)):  # type: ignore[misc]  # built by Django at import
    """The default and base manager of tenant models."""

    # Historical models in migrations have Django's plain manager: a data migration sees every row.
    use_in_migrations = False

    def get_queryset(self) -> TenantQuerySet[Any]:
        queryset: TenantQuerySet[Any] = super().get_queryset()
        return queryset.filter(InCurrentTenant("organization"))


def stamp(instance: models.Model, scope: Scope) -> None:
    """Give a row without organization the active one; refuse a row of another, or one that was moved."""
    if scope.everything:
        return
    owner = instance.organization_id  # type: ignore[attr-defined]  # every tenant model has it
    if owner is None:
        instance.organization_id = scope.organization_id  # type: ignore[attr-defined]
    elif owner != scope.organization_id or loaded_organization(instance) not in (None, scope.organization_id):
        raise TenantMismatch(
            f"This {instance._meta.label} belongs to another organization than the active one, {scope.organization_id}."
        )


def loaded_organization(instance: models.Model) -> Any:
    """The organization that the row had when it was read, or None for one that was not read."""
    return instance.__dict__.get("_loaded_organization_id")
