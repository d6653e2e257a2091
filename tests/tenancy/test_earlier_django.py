from __future__ import annotations

import django
import pytest


@pytest.mark.skipif(django.VERSION >= (6, 0), reason="this Django has tasks")
def test_django_without_tasks_is_told_what_to_do() -> None:
    with pytest.raises(ImportError, match=r"Django 6\.0.*TenantTask"):
        import dovetail_tenancy.contrib.tasks  # noqa: F401
