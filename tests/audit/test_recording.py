from __future__ import annotations

import re
from datetime import datetime, timedelta
from datetime import timezone as dt_timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connection, transaction
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from dovetail_audit import attempt, diff, record
from dovetail_audit.entries import canonical, units
from dovetail_audit.exceptions import AppendOnly, IntentNotDurable
from dovetail_audit.models import Entry
from dovetail_audit.services import arecord, record_many
from dovetail_core import context
from tests.asynchronous import run
from tests.audit.shop.models import Product


def stored(entry: Entry) -> Entry:
    return Entry.objects.get(pk=entry.pk)


@pytest.fixture
def user(db: None) -> Any:
    return get_user_model().objects.create_user("ada", email="ada@example.com")


def test_entry_holds_the_arguments(user: Any) -> None:
    entry = stored(
        record(
            "invoice.paid",
            target=user,
            actor=user,
            organization_id=7,
            parameters={"amount": Decimal("1.50")},
            changes={"state": ["open", "paid"]},
            extra={"via": "bank"},
            status=200,
            problem="none",
        )
    )
    assert (entry.actor_kind, entry.actor, entry.actor_label) == ("user", str(user.pk), "ada")
    assert (entry.target_kind, entry.target, entry.target_label) == ("auth.User", str(user.pk), "ada")
    assert (entry.action, entry.outcome, entry.status, entry.problem) == ("invoice.paid", "success", 200, "none")
    assert entry.organization == "7"
    assert entry.data == {
        "parameters": {"amount": "1.50"},
        "changes": {"state": ["open", "paid"]},
        "extra": {"via": "bank"},
    }


@pytest.mark.django_db
def test_record_takes_one_statement() -> None:
    record("invoice.paid")  # compiles the statement
    with CaptureQueriesContext(connection) as queries:
        record("invoice.paid", parameters={"number": "A-1"})
    assert len(queries) == 1


@pytest.mark.django_db
def test_stored_entry_has_its_code_and_commitment() -> None:
    entry = stored(record("invoice.paid", parameters={"email": "ada@example.com"}, target=("shop.Order", 5)))
    assert canonical.mac(entry) == bytes(entry.mac)
    assert canonical.commit(canonical.personal_of(entry), bytes(entry.salt or b"")) == bytes(entry.commitment)


@pytest.mark.django_db
def test_code_of_an_older_pepper_is_accepted(settings: Any) -> None:
    settings.DOVETAIL_SECRET_PEPPERS = ["first pepper of at least 32 characters"]
    entry = stored(record("invoice.paid"))
    settings.DOVETAIL_SECRET_PEPPERS = ["second pepper of at least 32 characters", *settings.DOVETAIL_SECRET_PEPPERS]
    assert bytes(entry.mac) in set(canonical.macs(entry))
    assert bytes(entry.mac) != canonical.mac(entry)


@pytest.mark.parametrize("field", ["action", "actor", "organization", "outcome", "status", "data", "at", "commitment"])
@pytest.mark.django_db
def test_code_covers_column(field: str) -> None:
    entry = stored(record("invoice.paid", status=200))
    other: Any = {"status": 201, "data": {"a": 1}, "at": entry.at.replace(year=2001), "commitment": b"0" * 32}
    setattr(entry, field, other.get(field, "other"))
    assert canonical.mac(entry) != bytes(entry.mac)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"action": "Invoice paid"}, "An action must be lower-case words"),
        ({"action": "invoice"}, "An action must be lower-case words"),
        ({"action": "invoice.paid", "outcome": "maybe"}, "An outcome must be one of"),
        ({"action": "invoice.paid", "status": 42}, "A status must be an HTTP status"),
    ],
)
def test_wrong_argument_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        record(**arguments)


@pytest.mark.django_db
def test_entry_rolls_back_with_its_change() -> None:
    def change() -> None:
        with transaction.atomic():
            Product.objects.create(name="Tea")
            record("product.created")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    assert not Entry.objects.exists()


@pytest.mark.django_db
def test_record_many_takes_one_statement_for_500() -> None:
    record_many([{"action": "member.added"}])
    number = 1200 if connection.vendor != "sqlite" else 100
    with CaptureQueriesContext(connection) as queries:
        assert record_many({"action": "member.added", "target": ("m", key)} for key in range(number)) == number
    assert len(queries) == (3 if connection.vendor != "sqlite" else len(queries))
    assert Entry.objects.filter(target_kind="m").values("target").distinct().count() == number


@pytest.mark.django_db
def test_failed_write_fails_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    _break_table(monkeypatch)
    with pytest.raises(DatabaseError), transaction.atomic():
        record("invoice.paid")


@pytest.mark.django_db
def test_failed_write_is_logged_and_the_change_stays(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.AUDIT_ON_FAILURE = "log"
    _break_table(monkeypatch)
    with transaction.atomic():
        record("invoice.paid")
        Product.objects.create(name="Tea")
    assert Product.objects.exists()
    assert "1 entries are lost (invoice.paid)" in caplog.text


def _break_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dovetail_audit.entries.writing.once", lambda *args, **kwargs: ("INSERT INTO nowhere VALUES", "(%s)")
    )


@pytest.mark.django_db
def test_context_gives_actor_organization_and_request_id(user: Any) -> None:
    with context.bind(principal=user, organization_id=9, request_id="request-1"):
        entry = stored(record("invoice.paid"))
    assert (entry.actor, entry.organization, entry.request_id) == (str(user.pk), "9", "request-1")


def test_request_gives_address_and_agent(db: None, rf: RequestFactory) -> None:
    entry = record("invoice.paid", request=rf.get("/", REMOTE_ADDR="192.0.2.7", headers={"user-agent": "curl/8"}))
    assert (entry.ip, entry.user_agent, entry.actor_kind) == ("192.0.2.7", "curl/8", "anonymous")


@pytest.mark.parametrize(
    ("setting", "address", "expected"),
    [
        ("network", "192.0.2.7", "192.0.2.0/24"),
        ("network", "2001:db8:1:2::3", "2001:db8:1::/48"),
        ("none", "192.0.2.7", None),
    ],
)
def test_record_ip_limits_the_address(
    db: None, rf: RequestFactory, settings: Any, setting: str, address: str, expected: str | None
) -> None:
    settings.AUDIT_RECORD_IP = setting
    assert record("invoice.paid", request=rf.get("/", REMOTE_ADDR=address)).ip == expected


class ApiKey:
    """As ``dovetail_apikeys`` describes the credential of a request."""

    id = 12
    prefix = "acme_live_abc"
    organization_id = 31
    scopes = frozenset({"read"})


def test_api_key_is_the_actor(db: None, rf: RequestFactory) -> None:
    request: Any = rf.get("/")
    request.user = SimpleNamespace(pk="apikey:12", is_authenticated=True)
    request.auth = ApiKey()
    entry = record("invoice.paid", request=request)
    assert (entry.actor_kind, entry.actor, entry.auth, entry.actor_label) == ("api_key", "12", "api_key", ApiKey.prefix)
    assert entry.organization == "31"


def test_api_key_that_acts_as_its_owner_is_the_actor(user: Any, rf: RequestFactory) -> None:
    request: Any = rf.get("/")
    request.user, request.auth = user, ApiKey()
    assert record("invoice.paid", request=request).actor_kind == "api_key"
    assert record("invoice.paid", request=request, actor=user).actor_kind == "api_key"


def test_other_actor_than_the_one_of_the_request_has_no_credential(user: Any, rf: RequestFactory) -> None:
    request: Any = rf.get("/")
    request.user = SimpleNamespace(pk="apikey:12", is_authenticated=True)
    request.auth = ApiKey()
    entry = record("invoice.paid", request=request, actor=user)
    assert (entry.actor_kind, entry.auth) == ("user", "")


def test_token_with_a_claim_names_the_impersonator(user: Any, rf: RequestFactory) -> None:
    request: Any = rf.get("/")
    request.user = user
    request.auth = SimpleNamespace(token_type="access", payload={"act": {"sub": 5}})
    entry = record("invoice.paid", request=request)
    assert (entry.auth, entry.impersonator) == ("jwt", "5")


def test_key_with_a_lone_surrogate_is_hashed(db: None) -> None:
    entry = record("order.paid", target=("shop.Order", "ada@\ud800"))
    assert entry.target.startswith("hashed:")


def test_key_that_is_an_address_is_hashed(db: None) -> None:
    actor = SimpleNamespace(pk="ada@example.com", is_authenticated=True)
    entry = record("invoice.paid", actor=actor, target=("user", "ada@example.com"))
    assert entry.actor.startswith("hashed:")
    assert entry.actor == entry.target
    # As a word: the digits of an id or a hash may be "ada".
    assert not re.search(rb"\bada\b", canonical.canonical(entry))


def test_resolver_gives_the_organization_once(db: None, rf: RequestFactory, settings: Any) -> None:
    calls = []
    settings.AUDIT_ORGANIZATION_RESOLVER = lambda request: calls.append(request) or 44
    request = rf.get("/")
    assert [record("invoice.paid", request=request).organization for _ in range(2)] == ["44", "44"]
    assert len(calls) == 1


def test_resolver_that_fails_leaves_no_organization(
    db: None, rf: RequestFactory, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.AUDIT_ORGANIZATION_RESOLVER = lambda request: 1 / 0
    assert record("invoice.paid", request=rf.get("/")).organization is None
    assert "AUDIT_ORGANIZATION_RESOLVER failed" in caplog.text


@pytest.mark.django_db
def test_label_of_target_makes_no_query() -> None:
    product = Product.objects.create(name="Tea")
    deferred = Product.objects.defer("name").get(pk=product.pk)
    with CaptureQueriesContext(connection) as queries:
        assert record("product.updated", target=deferred).target_label is None
    assert len(queries) == 1
    assert record("product.updated", target=product).target_label == "Tea"


@pytest.mark.django_db(transaction=True)
def test_attempt_leaves_intent_and_outcome() -> None:
    with attempt("backup.restored", target=("backup", "b1"), parameters={"name": "b1"}) as action:
        assert [entry.outcome for entry in Entry.objects.all()] == ["intent"]
    intent, outcome = Entry.objects.order_by("pk")
    assert action.intent is not None
    assert (intent.pk, outcome.outcome, outcome.data["extra"]) == (
        action.intent.pk,
        "success",
        {"intent": str(intent.pk)},
    )
    assert intent.data["parameters"] == outcome.data["parameters"] == {"name": "b1"}


@pytest.mark.parametrize(("error", "outcome"), [(PermissionDenied(), "denied"), (RuntimeError(), "failed")])
@pytest.mark.django_db(transaction=True)
def test_attempt_records_exception(error: Exception, outcome: str) -> None:
    with pytest.raises(type(error)), attempt("backup.restored"):
        raise error
    assert [entry.outcome for entry in Entry.objects.order_by("pk")] == ["intent", outcome]
    assert Entry.objects.order_by("pk")[1].problem == type(error).__name__


@pytest.mark.django_db(transaction=True)
def test_attempt_whose_transaction_rolls_back_is_failed() -> None:
    def restore() -> None:
        with attempt("backup.restored") as action, transaction.atomic():
            action.succeeded(changes={"state": [1, 2]})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        restore()
    assert [entry.outcome for entry in Entry.objects.order_by("pk")] == ["intent", "failed"]


@pytest.mark.django_db(transaction=True)
def test_attempt_in_a_transaction_is_refused() -> None:
    with transaction.atomic(), pytest.raises(IntentNotDurable, match="Call it before the transaction"):
        attempt("backup.restored").__enter__()
    assert not Entry.objects.exists()


@pytest.mark.django_db
def test_attempt_works_in_a_test_case() -> None:
    with attempt("backup.restored"):
        pass
    assert Entry.objects.count() == 2


@pytest.mark.django_db
def test_outcome_outside_of_the_block_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Enter the block first"):
        attempt("backup.restored").succeeded()


@pytest.mark.django_db(transaction=True)
def test_async_functions_record() -> None:
    async def main() -> None:
        await arecord("invoice.paid")
        async with attempt("backup.restored"):
            pass

    run(main())
    assert Entry.objects.count() == 3


@pytest.mark.parametrize("method", ["update", "delete", "create", "bulk_create", "bulk_update", "get_or_create"])
def test_orm_refuses_to_change_entries(method: str) -> None:
    with pytest.raises(AppendOnly, match="is append-only"):
        getattr(Entry.objects.all(), method)()


def test_instance_refuses_to_be_saved_or_deleted(db: None) -> None:
    entry = stored(record("invoice.paid"))
    for method in (entry.save, entry.delete):
        with pytest.raises(AppendOnly):
            method()


def test_diff_holds_changed_fields() -> None:
    before, after = Product(pk=1, name="Tea", price=1, secret_note="x"), Product(pk=1, name="Tea", price=2)
    assert diff(before, after, secret=["secret_note"]) == {"price": [1, 2], "secret_note": "changed"}
    assert diff({"a": 1}, {"a": 1, "b": 2}, fields=["a"]) == {}
    assert diff(None, {"a": 1}) == {"a": [None, 1]}
    assert diff({"a": 1}, None) == {"a": [1, None]}


def test_diff_sees_a_change_beyond_the_recorded_length() -> None:
    changes = diff({"text": "a" * 2000 + "b"}, {"text": "a" * 2000 + "c"})
    assert list(changes) == ["text"]


def test_diff_refuses_unknown_fields() -> None:
    with pytest.raises(ValueError, match=r"Unknown fields: colour\. The fields are: id, name, price, secret_note"):
        diff(Product(), Product(), fields=["colour"])


def test_unit_of_a_task_names_its_actor(db: None) -> None:
    with units.enter(units.Unit(origin="task", actor=("user", "7", "jwt", None), request_id="r-1", organization_id=3)):
        entry = record("invoice.paid")
    assert (entry.origin, entry.actor_kind, entry.actor, entry.auth) == ("task", "user", "7", "jwt")
    assert (entry.request_id, entry.organization) == ("r-1", "3")
    assert record("invoice.paid").actor_kind == "system"


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Europe/Berlin"])
@pytest.mark.parametrize("moment", [datetime.max, datetime.min])  # noqa: DTZ901  # some are naive
@pytest.mark.parametrize("hours", [None, -5, 5])
def test_first_and_last_time_are_recorded(
    db: None, settings: Any, zone: str, moment: datetime, hours: int | None
) -> None:
    settings.TIME_ZONE = zone
    value = moment if hours is None else moment.replace(tzinfo=dt_timezone(timedelta(hours=hours)))
    entry = record("key.created", parameters={"valid_until": value})
    assert entry.data["parameters"]["valid_until"][:2] in {"99", "00"}
