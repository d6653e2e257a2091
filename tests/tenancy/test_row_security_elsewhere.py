"""Row security on databases that have none: migrations and checks pass by. The rest is in row_security/."""

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
def test_the_operation_does_nothing_and_nothing_is_checked() -> None:
    operation = EnableRowSecurity("Folder")
    with CaptureQueriesContext(connection) as queries:
        operation.database_forwards("documents", Editor(), as_state, as_state)
        operation.database_backwards("documents", Editor(), as_state, as_state)
        assert check_databases(databases=["default"]) == []
    assert len(queries) == 0
    assert check_databases() == []


def test_psycopg_is_there_for_the_tests_of_row_security() -> None:
    if find_spec("psycopg") is None:
        pytest.skip("the tests in row_security/ need psycopg: pip install 'psycopg[binary,pool]'")


@pytest.mark.parametrize("name", ["", "x" * 64, "a\0b", None, 7])
def test_a_bypass_role_that_can_be_none(settings: Any, name: object) -> None:
    settings.TENANCY_BYPASS_ROLE = name
    (message,) = conf.check()
    assert "TENANCY_BYPASS_ROLE" in message.msg
