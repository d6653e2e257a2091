from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from django.apps import apps

from tests.core.parcel import PACKAGE


@pytest.fixture(autouse=True)
def _the_package_of_the_tests_is_forgotten() -> Iterator[None]:
    """Other tests expect the modules and models of installed packages only."""
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]
    apps.all_models.pop(PACKAGE, None)
