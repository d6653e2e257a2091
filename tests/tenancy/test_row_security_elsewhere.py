"""Row security on databases other than PostgreSQL, where it does nothing. See also row_security/."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dovetail_tenancy.conf import conf
from dovetail_tenancy.operations import EnableRowSecurity
from dovetail_tenancy.row_security.checks import check_databases
from tests.tenancy.conftest import as_state

pytestmark = pytest.mark.django_db


class Editor:
    connection = connection
    collect_sql = False

    def execute(self, *args: Any) -> None:
        raise AssertionError(args)


@pytest.mark.skipif("connection.vendor == 'postgresql'", reason="is about every other database")
def test_operation_and_check_do_nothing_without_postgresql() -> None:
    operation = EnableRowSecurity("Folder")
    with CaptureQueriesContext(connection) as queries:
        operation.database_forwards("documents", Editor(), as_state, as_state)
        operation.database_backwards("documents", Editor(), as_state, as_state)
        assert check_databases(databases=["default"]) == []
    assert len(queries) == 0
    assert check_databases() == []


def test_psycopg_is_installed_for_row_security_tests() -> None:
    if find_spec("psycopg") is None:
        pytest.skip("the tests in row_security/ need psycopg: pip install 'psycopg[binary,pool]'")


@pytest.mark.parametrize("name", ["", "x" * 64, "a\0b", None, 7])
def test_invalid_bypass_role_is_an_error(settings: Any, name: object) -> None:
    settings.TENANCY_BYPASS_ROLE = name
    (message,) = conf.check()
    assert "TENANCY_BYPASS_ROLE" in message.msg
