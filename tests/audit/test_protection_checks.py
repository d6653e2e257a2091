from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from django.contrib.admin.sites import site
from django.core.checks import CheckMessage
from django.db import connection

from dovetail_audit import checks
from dovetail_audit.entries.admin_log import AuditModelAdmin
from dovetail_audit.models import Entry
from dovetail_audit.protection import triggers
from dovetail_audit.testing import append_only

pytestmark = pytest.mark.django_db(transaction=True)

MIDDLEWARE = "dovetail_audit.middleware.AuditMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"


def ids(check: Callable[..., Iterable[CheckMessage]], **kwargs: Any) -> list[str]:
    messages = list(check(**kwargs))
    assert all(message.hint for message in messages)
    return [str(message.id).removeprefix("dovetail_audit.") for message in messages]


def test_e002_names_unknown_alias(settings: Any) -> None:
    assert ids(checks.check_databases) == []
    settings.AUDIT_ALIAS = "nowhere"
    assert ids(checks.check_databases) == ["E002"]


class Router:
    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "default" if model is Entry else "elsewhere"


def test_e002_names_another_database_without_a_decision(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DATABASE_ROUTERS = [Router()]
    monkeypatch.setattr(checks, "is_same_database", lambda one, other: one == other)
    assert ids(checks.check_databases) == ["E002"]
    settings.AUDIT_ALIAS = "default"
    assert ids(checks.check_databases) == []


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ([AUTHENTICATION, MIDDLEWARE], []),
        ([MIDDLEWARE], []),
        ([MIDDLEWARE, AUTHENTICATION], ["W006"]),
        ([AUTHENTICATION], ["W006"]),
    ],
)
def test_w006_examines_the_middleware(settings: Any, middleware: list[str], expected: list[str]) -> None:
    settings.MIDDLEWARE = middleware
    assert ids(checks.check_middleware) == expected


def test_w002_names_missing_triggers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(checks.check_triggers, databases=["default"]) == []
    monkeypatch.setattr(triggers, "is_test_database", lambda connection: False)
    assert ids(checks.check_triggers, databases=["default"]) == ["W002"]
    assert ids(checks.check_triggers, databases=None) == []
    with append_only():
        assert ids(checks.check_triggers, databases=["default"]) == []


@pytest.mark.skipif(connection.vendor != "postgresql", reason="needs PostgreSQL: triggers can be disabled")
def test_w002_names_disabled_triggers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "is_test_database", lambda connection: False)
    with append_only(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE dovetail_audit_entry DISABLE TRIGGER dovetail_audit_entry_no_delete")
        (message,) = checks.check_triggers(databases=["default"])
    assert "dovetail_audit_entry_no_delete" in message.msg


def test_w008_and_w009_name_the_rights_of_the_test_user(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(checks.check_rights, databases=["default"]) == []
    monkeypatch.setattr(triggers, "is_test_database", lambda connection: False)
    expected = {"postgresql": ["W009"], "mysql": ["W008"]}.get(connection.vendor, [])
    assert ids(checks.check_rights, databases=["default"]) == expected


def test_w007_names_lost_entries(settings: Any) -> None:
    assert ids(checks.check_failure) == []
    settings.AUDIT_ON_FAILURE = "log"
    assert ids(checks.check_failure) == ["W007"]


def test_w005_names_other_model_admins(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (message,) = checks.check_admins()
    assert message.id == "dovetail_audit.W005"
    assert "shop.Order" in message.msg
    assert "shop.Product" not in message.msg
    monkeypatch.setattr(site, "_registry", {m: o for m, o in site._registry.items() if isinstance(o, AuditModelAdmin)})
    assert ids(checks.check_admins) == []
    settings.AUDIT_ADMIN_SITE = False
    monkeypatch.undo()
    assert ids(checks.check_admins) == []


def test_i002_names_unlimited_retention(settings: Any) -> None:
    assert ids(checks.check_retention) == ["I002"]
    settings.AUDIT_RETENTION = 90
    assert ids(checks.check_retention) == []
