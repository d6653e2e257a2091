"""The conventions of a customer-facing API, in parts that settings enable."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.models import Model


def get_idempotency_model() -> type[Model]:
    """The model that ``CONTRACT_IDEMPOTENCY_MODEL`` names. Models must be loaded."""
    from django.apps import apps

    from dovetail_core.fields import named_model

    return apps.get_model(named_model("CONTRACT_IDEMPOTENCY_MODEL"))
