"""Fixtures for pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dovetail_tenancy import services
from dovetail_tenancy.isolation.scope import tenant
from dovetail_tenancy.organizations.project_models import user_model


@pytest.fixture
def organization(db: None) -> Any:
    """An organization with an owner who can sign in. Override it if your model needs more than a name."""
    model: Any = user_model()
    fields = {model.USERNAME_FIELD: "owner@example.com"}
    owner = model._default_manager.create(**fields)
    return services.create_organization(name="Organization", owner=owner)


@pytest.fixture
def as_tenant() -> Iterator[Callable[[Any], Any]]:
    """``as_tenant(organization)`` activates the organization until the test ends or the next call."""
    with ExitStack() as active:

        def activate(organization: Any) -> Any:
            active.close()
            active.enter_context(tenant(organization))
            return organization

        yield activate
