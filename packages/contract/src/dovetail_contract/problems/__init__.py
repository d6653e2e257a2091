"""Problem details (RFC 9457) for every error."""

from __future__ import annotations

from dovetail_contract.problems.builder import Problem, ProblemResponse, problem
from dovetail_contract.problems.catalogue import ProblemType, problem_types, register_problem
from dovetail_contract.problems.handlers import (
    csrf_failure,
    exception_handler,
    handler400,
    handler403,
    handler404,
    handler500,
)

__all__ = [
    "Problem",
    "ProblemResponse",
    "ProblemType",
    "csrf_failure",
    "exception_handler",
    "handler400",
    "handler403",
    "handler404",
    "handler500",
    "problem",
    "problem_types",
    "register_problem",
]
