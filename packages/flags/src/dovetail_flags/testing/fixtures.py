"""Fixtures for pytest. This module is a plugin, which pytest imports before Django's settings are configured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest


@pytest.fixture
def flags() -> Iterator[Callable[..., None]]:
    """Return a function that sets values of flags until the end of the test: ``flags(new_checkout=True)``."""
    from dovetail_flags.testing import override_flags

    with ExitStack() as stack:

        def override(*args: Any, **values: Any) -> None:
            stack.enter_context(override_flags(*args, **values))

        yield override
