from __future__ import annotations

import django
import pytest


@pytest.mark.skipif(django.VERSION >= (6, 0), reason="this Django has tasks")
def test_import_without_django_tasks_explains_the_error() -> None:
    with pytest.raises(ImportError, match=r"Django 6\.0.*TenantTask"):
        import dovetail_tenancy.contrib.tasks  # noqa: F401
