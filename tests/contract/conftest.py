from __future__ import annotations

from collections.abc import Iterator

import pytest

from dovetail_contract.testing import reset_rate_limits
from tests.features import json_support_is_known  # noqa: F401


@pytest.fixture(autouse=True)
def _nothing_counted() -> Iterator[None]:
    reset_rate_limits()
    yield
    reset_rate_limits()
