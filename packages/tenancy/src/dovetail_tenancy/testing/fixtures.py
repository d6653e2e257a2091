"""Fixtures for pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeVar

import pytest

from dovetail_core.accounts import address_fields
from dovetail_tenancy import services
from dovetail_tenancy.isolation.scope import tenant
from dovetail_tenancy.organizations.project_models import user_model

T = TypeVar("T")


@pytest.fixture
def organization(db: None) -> Any:
    """Return an organization with an owner who can sign in. Override it if your model needs more than a name."""
    model: Any = user_model()
    owner = model._default_manager.create(**dict.fromkeys(address_fields(model), "owner@example.com"))
    return services.create_organization(name="Organization", owner=owner)


@pytest.fixture
def as_tenant() -> Iterator[Callable[[T], T]]:
    """Return ``as_tenant(organization)``, which activates it until the end of the test or the next call."""
    with ExitStack() as active:

        def activate(organization: T) -> T:
            active.close()
            active.enter_context(tenant(organization))
            return organization

        yield activate
