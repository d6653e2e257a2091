"""The conventions of a customer-facing API, in parts that settings enable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dovetail_core.models import get_setting_model

if TYPE_CHECKING:
    from django.db.models import Model


def get_idempotency_model() -> type[Model]:
    """Return the model that ``CONTRACT_IDEMPOTENCY_MODEL`` names. Models must be loaded."""
    return get_setting_model("CONTRACT_IDEMPOTENCY_MODEL")
