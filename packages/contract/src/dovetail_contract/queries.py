"""Mistakes in the query, all of them in one answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dovetail_contract.problems.builder import Problem


def mistake(parameter: str, detail: str, *, code: str = "invalid", allowed: Sequence[str] = ()) -> dict[str, Any]:
    """One member of ``errors``; ``allowed`` are the values that would have been right."""
    made: dict[str, Any] = {"code": code, "detail": detail, "parameter": parameter[:100]}
    return {**made, "allowed": list(allowed)} if allowed else made


class InvalidQuery(Problem):
    """400 ``invalid_query`` (or ``code``) with every mistake; its text tells them too, for other exception handlers."""

    def __init__(self, mistakes: Sequence[dict[str, Any]], *, code: str = "invalid_query") -> None:
        told = " ".join(f"{each['parameter']}: {each['detail']}" for each in mistakes[:5])
        super().__init__(code, told, status=400, errors=mistakes)
