from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import override_settings


@pytest.mark.django_db
@pytest.mark.parametrize("auto_field", ["django.db.models.AutoField", "django.db.models.BigAutoField"])
def test_no_migration_is_missing_with_any_default_auto_field(auto_field: str) -> None:
    with override_settings(DEFAULT_AUTO_FIELD=auto_field):
        call_command("makemigrations", "--check", "--dry-run", stdout=io.StringIO())


@pytest.mark.django_db(transaction=True)
def test_migrations_are_reversible() -> None:
    try:
        call_command("migrate", "dovetail_identity", "zero", verbosity=0)
        assert not [name for name in connection.introspection.table_names() if name.startswith("dovetail_identity")]
    finally:
        call_command("migrate", verbosity=0)
    assert "dovetail_identity_user" in connection.introspection.table_names()
