"""Entries of domain events."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from dovetail_audit.models import Entry
from dovetail_core.events import Event, emit
from tests.audit.shop.models import Product

pytestmark = pytest.mark.django_db


def actions() -> list[str]:
    return list(Entry.objects.order_by("pk").values_list("action", flat=True))


def test_event_is_recorded_with_its_data(user: Any) -> None:
    event = emit(
        "api_key.rotated",
        actor=user,
        organization_id=5,
        target=user,
        data={"prefix": "acme_live_abc", "network": "192.0.2.7"},
    )
    entry = Entry.objects.get()
    assert (entry.action, entry.outcome, entry.organization) == ("api_key.rotated", "success", "5")
    assert (entry.actor, entry.target) == (str(user.pk), str(user.pk))
    assert entry.data == {"parameters": {"prefix": "acme_live_abc", "network": "[personal]"}}
    assert entry.private == {"parameters.network": "192.0.2.7"}
    assert entry.at == event.occurred_at


def test_event_of_the_admin_api_fills_the_columns() -> None:
    emit(
        "admin.succeeded",
        data={
            "operation": "users.deactivate",
            "parameters": {"id": 5, "password": "hunter22"},
            "status": 204,
            "problem": None,
            "milliseconds": 12,
            "changes": {"is_active": [True, False]},
            "impersonator_id": 9,
        },
    )
    entry = Entry.objects.get()
    assert (entry.target_kind, entry.target, entry.status, entry.problem) == ("operation", "users.deactivate", 204, "")
    assert entry.impersonator == "9"
    assert entry.data == {
        "parameters": {"id": 5, "password": "[redacted]"},
        "changes": {"is_active": [True, False]},
        "extra": {"operation": "users.deactivate", "milliseconds": 12},
    }


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("admin.denied", "denied"),
        ("admin.failed", "failed"),
        ("user.sign_in_failed", "failed"),
        ("user.sign_in_limited", "denied"),
        ("upload.unfailed", "success"),
        ("invoice.paid", "success"),
    ],
)
def test_name_of_event_gives_the_outcome(name: str, outcome: str) -> None:
    emit(name)
    assert Entry.objects.get().outcome == outcome


def test_entry_and_change_are_one_transaction() -> None:
    def change() -> None:
        with transaction.atomic():
            Product.objects.create(name="Tea")
            emit("product.created")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    assert actions() == []


def test_entry_that_cannot_be_written_fails_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dovetail_audit.entries.writing.insert", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        emit("product.created", target=Product.objects.create(name="Tea"))
    assert not Product.objects.exists()


def test_routine_of_sessions_is_ignored_by_default(user: Any) -> None:
    other = get_user_model().objects.create_user("admin")
    emit("user.signed_in", actor=user, target=user)
    for reason in ("signed_out", "password_changed", "password_reset", "revoked"):
        emit("session.revoked", actor=user, target=user, data={"reason": reason})
    assert actions() == []
    emit("session.revoked", actor=user, target=user, data={"reason": "reused"})
    emit("session.revoked", actor=other, target=user, data={"reason": "revoked"})
    emit("session.revoked", target=user, data={"reason": "suspended"})
    assert actions() == ["session.revoked"] * 3


def test_setting_adds_the_routine_of_sessions(user: Any, settings: Any) -> None:
    settings.AUDIT_EVENTS = {"user.signed_in": True, "session.*": True}
    emit("user.signed_in", actor=user, target=user)
    emit("session.revoked", actor=user, target=user, data={"reason": "signed_out"})
    assert actions() == ["user.signed_in", "session.revoked"]


def test_most_specific_pattern_decides(settings: Any) -> None:
    settings.AUDIT_EVENTS = {"*": False, "invoice.*": True, "invoice.seen": False}
    for name in ("order.paid", "invoice.paid", "invoice.seen"):
        emit(name)
    assert actions() == ["invoice.paid"]


def only_number(event: Event) -> dict[str, Any]:
    return {"parameters": {"number": event.data["number"]}, "action": "invoice.settled"}


@pytest.mark.parametrize("rule", [only_number, f"{__name__}.only_number"])
def test_function_of_a_rule_changes_the_entry(settings: Any, rule: Any) -> None:
    settings.AUDIT_EVENTS = {"invoice.paid": rule}
    emit("invoice.paid", data={"number": "A-1", "amount": 5})
    entry = Entry.objects.get()
    assert (entry.action, entry.data) == ("invoice.settled", {"parameters": {"number": "A-1"}})


@pytest.mark.parametrize(("answer", "count"), [(True, 1), (None, 1), (False, 0)])
def test_function_of_a_rule_decides(settings: Any, answer: bool | None, count: int) -> None:
    settings.AUDIT_EVENTS = {"invoice.paid": lambda event: answer}
    emit("invoice.paid")
    assert len(actions()) == count


def test_wrong_answer_of_a_rule_is_an_error(settings: Any) -> None:
    settings.AUDIT_EVENTS = {"invoice.paid": lambda event: 1}
    with pytest.raises(TypeError, match=r"The function of AUDIT_EVENTS for invoice\.paid returned 1"):
        emit("invoice.paid")


def test_fixture_of_entries_is_refused(tmp_path: Any) -> None:
    from django.core.management import call_command

    from dovetail_audit.exceptions import AppendOnly

    emit("invoice.paid")
    file = tmp_path / "entries.json"
    call_command("dumpdata", "dovetail_audit", output=str(file))
    with pytest.raises(AppendOnly, match="loaddata cannot create audit entries"):
        call_command("loaddata", str(file))


def test_own_events_are_always_recorded(settings: Any) -> None:
    settings.AUDIT_EVENTS = {"*": False}
    emit("audit.pruned")
    assert actions() == ["audit.pruned"]


@pytest.mark.parametrize(
    "data",
    [
        {"status": "shipped"}, {"status": 3}, {"status": "403"}, {"status": True}, {"personal": "x"},
        {"personal": ["x"]}, {"problem": {"text": "x"}}, {"changes": ["x"]}, {"changes": "x"}, {"parameters": ["x"]},
        {"impersonator_id": {"id": 1}},
    ],
)  # fmt: skip
def test_value_that_is_no_part_of_an_entry_stays_in_the_data(data: dict[str, Any]) -> None:
    emit("order.shipped", data=data)
    entry = Entry.objects.get()
    assert entry.data == {"parameters": data}
    assert (entry.private, entry.status, entry.problem, entry.impersonator) == (None, None, "", None)
