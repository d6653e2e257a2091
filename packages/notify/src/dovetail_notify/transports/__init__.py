"""Transports, which send notifications by e-mail, push and webhook: one for each channel of ``NOTIFY_TRANSPORTS``."""

from __future__ import annotations

from dovetail_notify.transports.base import (
    Outcome,
    Transport,
    available_channels,
    is_concurrent,
    required_channels,
    transport_for,
)

__all__ = ["Outcome", "Transport", "available_channels", "is_concurrent", "required_channels", "transport_for"]
