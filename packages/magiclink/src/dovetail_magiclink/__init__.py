"""Passwordless sign-in by an e-mailed link and an 8-digit code, for any user model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dovetail_core.models import get_setting_model

if TYPE_CHECKING:
    from dovetail_magiclink.base import AbstractMagicLink

__all__ = ["get_magic_link_model"]


def get_magic_link_model() -> type[AbstractMagicLink]:
    """Return the model that ``MAGIC_LINK_MODEL`` names. Models must be loaded."""
    return get_setting_model("MAGIC_LINK_MODEL")
