"""Sockets and streams: who may open them, what they are sent, and what ends them."""

from __future__ import annotations

from dovetail_notify.realtime.messages import disconnect, recheck
from dovetail_notify.realtime.process import statistics

__all__ = ["disconnect", "recheck", "statistics"]
