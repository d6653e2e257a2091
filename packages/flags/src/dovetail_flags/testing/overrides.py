"""Values of flags for tests, and assertions about their use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.test.utils import TestContextDecorator

from dovetail_flags.evaluation.declared import declared_flags
from dovetail_flags.evaluation.facade import flags
from dovetail_flags.types.context import Context
from dovetail_flags.types.details import Details
from dovetail_flags.types.kinds import value_problem


class override_flags(TestContextDecorator):  # noqa: N801  # as Django's override_settings
    """Set values of flags in a ``with`` block, a test function or a test case: ``override_flags(theme="dark")``.

    Keyword arguments cannot contain hyphens, so ``new_checkout`` sets both ``new_checkout`` and ``new-checkout``. Pass
    other keys in a dict: ``override_flags({"billing.retry-limit": 3})``. The values apply to all threads of the
    process, and no query is made for them. Raises ``ValueError`` for a value that does not have the declared type.
    """

    def __init__(self, values: Mapping[str, Any] | None = None, /, **by_name: Any) -> None:
        super().__init__()
        self.values = {
            **by_name,
            **{name.replace("_", "-"): value for name, value in by_name.items()},
            **(values or {}),
        }
        self.previous: list[Mapping[str, Any]] = []

    def enable(self) -> None:
        declared = declared_flags()
        for key, value in self.values.items():
            if key in declared and (problem := value_problem(value, declared[key].kind)):
                raise ValueError(f"The value of the flag {key!r} {problem}.")
        self.previous.append(flags.overrides)
        flags.overrides = {**flags.overrides, **self.values}

    def disable(self) -> None:
        flags.overrides = self.previous.pop()


@contextmanager
def assert_flags_used(*keys: str) -> Iterator[dict[str, Details]]:
    """Assert that the code in the ``with`` block evaluates each of ``keys``, in any thread.

    The value of the ``with`` statement maps the keys of all evaluated flags to their last details.
    """
    used: dict[str, Details] = {}

    def observe(key: str, details: Details, context: Context) -> None:
        used[key] = details

    flags.observers = (*flags.observers, observe)
    try:
        yield used
    finally:
        flags.observers = tuple(observer for observer in flags.observers if observer is not observe)
    if missing := [key for key in keys if key not in used]:
        raise AssertionError(
            f"Flags that were not evaluated: {', '.join(missing)}. Evaluated: {', '.join(sorted(used)) or 'none'}."
        )
