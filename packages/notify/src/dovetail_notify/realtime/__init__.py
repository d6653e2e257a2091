"""WebSockets and server-sent events: authentication, frames, and closing."""

from __future__ import annotations

from dovetail_notify.realtime.messages import broadcast, disconnect, recheck, statistics

__all__ = ["broadcast", "disconnect", "recheck", "statistics"]
