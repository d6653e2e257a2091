"""How often: policies, the limiter that asks about all of a request's at once, and where the counts are kept."""

from __future__ import annotations
