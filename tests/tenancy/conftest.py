from __future__ import annotations

import pytest
from django.conf import settings

from dovetail_tenancy.testing import as_tenant  # noqa: F401


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
