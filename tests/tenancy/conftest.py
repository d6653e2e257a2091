from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection

from dovetail_core import attempts
from dovetail_tenancy.models import TenantModel
from dovetail_tenancy.operations import EnableRowSecurity
from dovetail_tenancy.testing import as_tenant  # noqa: F401

as_state = SimpleNamespace(apps=apps)
"""The models as they are, where an operation takes a migration's state."""


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> Iterator[None]:
    """On PostgreSQL, connect as a role that row security binds; the server's own user is a superuser."""
    if connection.vendor != "postgresql":
        yield
        return
    from tests.roles import plain_login

    with plain_login(connection.settings_dict, bypass=settings.TENANCY_BYPASS_ROLE):
        yield
        connection.close()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Row security on every tenant model of the lane, as its migrations would have it."""
    with django_db_blocker.unblock(), connection.schema_editor() as editor:
        for model in apps.get_models():
            if issubclass(model, TenantModel):
                EnableRowSecurity(model.__name__).database_forwards(model._meta.app_label, editor, as_state, as_state)


@pytest.fixture(autouse=True)
def _no_attempts() -> None:
    attempts.reset()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from tests.tenancy.lanes import does_not_apply

    for item in items:
        if reason := does_not_apply(item.name.partition("[")[0]):
            item.add_marker(pytest.mark.skip(reason=reason))
    if len(settings.DATABASES) > 1:
        for item in items:
            for marker in item.iter_markers("django_db"):
                # A request with ATOMIC_REQUESTS begins a transaction on each of them.
                marker.kwargs.setdefault("databases", "__all__")
