from __future__ import annotations

from dovetail_core.doctor import Command

__all__ = ["Command"]
