"""WebSockets and server-sent events: authentication, frames, and closing."""

from __future__ import annotations

from dovetail_notify.realtime.messages import disconnect, recheck, statistics

__all__ = ["disconnect", "recheck", "statistics"]
