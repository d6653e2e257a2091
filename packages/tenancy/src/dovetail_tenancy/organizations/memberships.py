"""Queries on memberships."""

from __future__ import annotations

from typing import Any

from django.db.models import Model, QuerySet

from dovetail_tenancy.organizations.project_models import concrete_field, get_membership_model, user_model


def memberships_of(user: Any, *, using: str) -> list[Any]:
    """Return the user's memberships, always in the same order.

    The order prevents deadlocks: two transactions that lock the same organizations do not wait for each other.
    """
    rows = get_membership_model()._base_manager.using(using).filter(user=user.pk)
    return list(rows.order_by("organization_id"))


def active_members(organization_id: Any, role: str, *, using: str) -> QuerySet[Model]:
    """Return the memberships with this role whose users can sign in, oldest first."""
    rows = get_membership_model()._base_manager.using(using).filter(organization=organization_id, role=role)
    return _whose_user_is_active(rows.order_by("pk"))


def is_active_member(user: Any, organization_id: Any) -> bool:
    """Return whether the user is a member now and can sign in. One query; the instance itself may be out of date."""
    rows = get_membership_model()._base_manager.filter(user=user.pk, organization=organization_id)
    return _whose_user_is_active(rows).exists()


def _whose_user_is_active(memberships: QuerySet[Model]) -> QuerySet[Model]:
    return memberships.filter(user__is_active=True) if concrete_field(user_model(), "is_active") else memberships
