"""All mistakes of a query in one problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dovetail_contract.problems.builder import Problem


def mistake(parameter: str, detail: str, *, code: str = "invalid", allowed: Sequence[str] = ()) -> dict[str, Any]:
    """One member of ``errors``. ``allowed`` lists the valid values."""
    member: dict[str, Any] = {"code": code, "detail": detail, "parameter": parameter[:100]}
    return {**member, "allowed": list(allowed)} if allowed else member


class InvalidQuery(Problem):
    """400 ``invalid_query`` (or ``code``) with every mistake. Its text has them too, for other exception handlers."""

    def __init__(self, mistakes: Sequence[dict[str, Any]], *, code: str = "invalid_query") -> None:
        text = " ".join(f"{entry['parameter']}: {entry['detail']}" for entry in mistakes[:5])
        super().__init__(code, text, status=400, errors=mistakes)
