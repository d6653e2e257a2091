"""The id of a request and its caller, for logs, errors and background work."""

from __future__ import annotations

from dovetail_contract.correlation.callers import ContextFilter
from dovetail_contract.correlation.request_ids import outgoing

__all__ = ["ContextFilter", "outgoing"]
