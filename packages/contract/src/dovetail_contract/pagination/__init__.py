"""``REST_FRAMEWORK = {"DEFAULT_PAGINATION_CLASS": "dovetail_contract.pagination.CursorPagination"}``"""

from __future__ import annotations

from dovetail_contract.pagination.paginator import CursorPagination

__all__ = ["CursorPagination"]
