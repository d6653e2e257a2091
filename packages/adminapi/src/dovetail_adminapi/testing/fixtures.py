"""Fixtures of pytest, which finds them as a plugin."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rest_framework.test import APIClient


@pytest.fixture
def adminapi_client(db: None) -> Callable[..., APIClient]:
    """``dovetail_adminapi.testing.admin_client``, with a database."""
    # Late: pytest imports plugins before Django has settings.
    from dovetail_adminapi.testing import admin_client

    return admin_client
