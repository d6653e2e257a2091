"""``REST_FRAMEWORK = {"DEFAULT_FILTER_BACKENDS": ["dovetail_contract.filters.FilterBackend"]}``"""

from __future__ import annotations

from dovetail_contract.filters.backend import FilterBackend

__all__ = ["FilterBackend"]
