from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import RequestFactory

from dovetail_core import context
from dovetail_flags import Context, Declared, Details, flags
from dovetail_flags.base import get_flag_model
from dovetail_flags.evaluation import facade
from dovetail_flags.exceptions import UnknownFlag
from dovetail_flags.providers.database import DatabaseProvider
from dovetail_flags.rules.compile import Condition
from dovetail_flags.services import archive_flag
from tests.flags.conftest import change, rule, split

Make = Callable[..., Any]
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("op", "values", "attribute", "holds"),
    [
        ("in", ["7", "8"], 7, True),
        ("in", [7], "7", True),
        ("in", ["7"], 8, False),
        ("in", ["admin"], ["member", "admin"], True),
        ("in", [True], True, True),
        ("in", ["true"], True, True),
        ("in", ["1"], True, False),
        ("in", [1], 1.0, True),
        ("in", ["0190a5c8-7b1e-7c3d-9f52-3a1b2c4d5e6f"], uuid.UUID("0190a5c87b1e7c3d9f523a1b2c4d5e6f"), True),
        ("in", ["pro"], "Pro", False),
        ("not_in", ["7"], 8, True),
        ("not_in", ["7"], 7, False),
        ("not_in", ["7"], [7, 8], False),
        ("not_in", ["7"], None, False),
        ("eq", ["pro"], "pro", True),
        ("eq", ["pro"], "free", False),
        ("lt", [10], 9.5, True),
        ("lt", [10], 10, False),
        ("lte", [10], 10, True),
        ("gt", [10], Decimal("10.5"), True),
        ("gt", [10], "11", False),
        ("gt", [0], True, False),
        ("gte", [10], 9, False),
        ("gte", ["2026-11-30T13:00:00+01:00"], NOW, True),
        ("gt", ["2026-11-30T13:00:00+01:00"], "2026-11-30T12:00:01Z", True),
        ("lt", ["2026-11-30T13:00:00+01:00"], "yesterday", False),
        ("lt", ["2026-11-30T13:00:00+01:00"], datetime(2020, 1, 1), False),  # noqa: DTZ001  # a naive time
        ("starts_with", ["beta-", "alpha-"], "alpha-1", True),
        ("starts_with", ["beta-"], "alpha-1", False),
        ("ends_with", ["@example.com"], "ada@example.com", True),
        ("ends_with", ["@example.com"], "ada@example.org", False),
        ("contains", ["amp"], "example", True),
        ("contains", ["AMP"], "example", False),
        ("lt", ["2026-12-01T00:00:00Z"], "0001-01-01T00:00:00+14:00", False),
        ("semver_gte", ["2.10.0"], "2.9.9", False),
        ("semver_gte", ["2.10.0"], "2.10.0", True),
        ("semver_gte", ["2.10.0"], "2.10.0-rc.1", False),
        ("semver_gte", ["2.10.0-rc.2"], "2.10.0-rc.10", True),
        ("semver_gte", ["2.10.0-rc.2"], "2.10.0-rc.beta", True),
        ("semver_gte", ["2.10.0"], "2.10", False),
        ("exists", [], "", True),
        ("exists", [], None, False),
        ("exists", [False], None, True),
        ("exists", [False], 0, False),
    ],
)
def test_condition_compares_attribute(op: str, values: list[Any], attribute: Any, holds: bool) -> None:
    condition = Condition({"attribute": "it", "op": op, "values": values})
    assert condition.holds(Context(None, {"it": attribute})) is holds


def test_condition_can_test_the_targeting_key() -> None:
    condition = Condition({"attribute": "targeting_key", "op": "in", "values": ["7"]})
    assert condition.holds(Context(7))
    # The one that the server knows, if a client may choose the other.
    assert not condition.holds(Context(7, {"targeting_key": None}))
    assert not condition.holds(Context(7, {"targeting_key": "8"}))


def test_enabled_flag_without_rules_is_static(make: Make) -> None:
    make(default_variant="on")
    assert flags.details("new-checkout") == Details(True, "on", "STATIC", None, None, 1)


def test_disabled_flag_serves_off_variant(make: Make) -> None:
    make(enabled=False, default_variant="on", rules=[rule()])
    assert flags.details("new-checkout", default=True) == Details(False, "off", "DISABLED", None, None, 1)


def test_first_matching_rule_wins(make: Make) -> None:
    first = {**rule(("plan", "eq", ["pro"]), serve="off"), "id": "pro"}
    second = {**rule(("plan", "exists", [])), "id": "any"}
    make(rules=[first, second])
    details = [flags.details("new-checkout", attributes={"plan": plan}) for plan in ("pro", "free")]
    assert [(item.value, item.reason, item.rule) for item in details] == [
        (False, "TARGETING_MATCH", "pro"),
        (True, "TARGETING_MATCH", "any"),
    ]


def test_no_matching_rule_serves_default_variant(make: Make) -> None:
    make(rules=[rule(("plan", "eq", ["pro"]))])
    assert flags.details("new-checkout", targeting_key="1").reason == "DEFAULT"
    assert not flags.enabled("new-checkout", targeting_key="1")


def test_all_conditions_of_a_rule_must_hold(make: Make) -> None:
    make(rules=[rule(("plan", "eq", ["pro"]), ("staff", "eq", [True]))])
    assert not flags.enabled("new-checkout", attributes={"plan": "pro", "staff": False})
    assert flags.enabled("new-checkout", attributes={"plan": "pro", "staff": True})


def test_percentage_without_a_key_leaves_the_choice_to_the_next_rule(make: Make) -> None:
    make(rules=[split(100), {**rule(), "id": "next"}])
    assert flags.details("new-checkout", targeting_key="1").reason == "SPLIT"
    assert flags.details("new-checkout", attributes={}).rule == "next"


def test_percentage_by_organization_ignores_the_targeting_key(make: Make) -> None:
    make(rules=[split(50, by="organization")])
    values = {flags.enabled("new-checkout", targeting_key=key, attributes={"organization": 7}) for key in range(50)}
    assert len(values) == 1


@pytest.mark.parametrize(
    ("start", "end", "value"), [(-1, 1, True), (1, 2, False), (-2, -1, False), (None, 1, True), (-1, None, True)]
)
def test_rule_applies_within_its_time(make: Make, start: int | None, end: int | None, value: bool) -> None:
    now = datetime.now(UTC)
    times = {
        name: (now + timedelta(hours=hours)).isoformat()
        for name, hours in (("from", start), ("until", end))
        if hours is not None
    }
    make(rules=[rule(**times)])
    assert flags.enabled("new-checkout") is value


def test_schedule_crosses_while_the_process_runs(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make(rules=[rule(**{"from": "2030-01-01T00:00:00Z", "until": "2030-01-02T00:00:00Z"})])
    start = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
    values = []
    for moment in (start - 1, start, start + 86399, start + 86400):
        monkeypatch.setattr("dovetail_flags.rules.compile.time", lambda moment=moment: moment)
        values.append(flags.enabled("new-checkout"))
    assert values == [False, True, True, False]


def test_unknown_flag_returns_default(db: None) -> None:
    details = flags.details("missing", default="x")
    assert (details.value, details.reason, details.error) == ("x", "ERROR", "FLAG_NOT_FOUND")
    assert flags.enabled("missing") is False
    assert flags.enabled("missing", default=True) is True


def test_archived_flag_returns_default(make: Make) -> None:
    flag = make(default_variant="on")
    archive_flag(flag=flag)
    assert flags.details("new-checkout").error == "FLAG_NOT_FOUND"


@pytest.mark.parametrize(
    ("kind", "value", "default", "other"),
    [
        ("string", "dark", "light", 1),
        ("integer", 3, 1, True),
        ("integer", 3, 1, 1.5),
        ("number", 0.5, 1, "x"),
        ("number", 1, 0.5, False),
        ("object", {"a": [1]}, {}, "x"),
        ("boolean", True, False, 1),
    ],
)
def test_default_of_another_type_is_a_mismatch(make: Make, kind: str, value: Any, default: Any, other: Any) -> None:
    make(type=kind, variants={"a": value, "b": value}, off_variant="b", default_variant="a")
    assert flags.value("new-checkout", default=default) == value
    details = flags.details("new-checkout", default=other)
    assert (details.value, details.error) == (other, "TYPE_MISMATCH")


def test_enabled_is_false_for_a_flag_of_another_type(make: Make) -> None:
    make(type="string", variants={"a": "true"})
    assert flags.enabled("new-checkout") is False


def test_object_value_can_be_changed_by_the_caller(make: Make) -> None:
    make(type="object", variants={"a": {"items": []}})
    flags.value("new-checkout")["items"].append(1)
    assert flags.value("new-checkout") == {"items": []}


def test_object_value_is_not_shared_within_a_request(make: Make) -> None:
    make(type="object", variants={"a": {"items": []}})
    request = RequestFactory().get("/")
    for _ in range(3):
        value = flags.value("new-checkout", request)
        assert value == {"items": []}
        value["items"].append(1)


def test_default_of_a_declared_object_is_not_shared(db: None, settings: Any) -> None:
    settings.FLAGS_DECLARED = {"new-checkout": Declared(dict, default={"items": []})}
    for _ in range(2):
        value = flags.value("new-checkout")
        assert value == {"items": []}
        value["items"].append(1)


def test_default_of_the_caller_is_returned_and_not_copied(db: None) -> None:
    default: dict[str, Any] = {}
    assert flags.value("missing", default=default) is default
    assert flags.value("missing", RequestFactory().get("/"), default=default) is default


def test_row_with_invalid_rules_breaks_only_its_flag(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    make(default_variant="on")
    broken = make("broken")
    broken.rules = [{"serve": "nobody"}]
    broken.save()
    assert flags.enabled("new-checkout")
    details = flags.details("broken", default=True)
    assert (details.value, details.error) == (True, "PARSE_ERROR")
    assert "broken" in caplog.text


def test_context_outside_of_requests_is_that_of_core(make: Make) -> None:
    make(rules=[rule(("organization", "in", ["7"]))])
    assert not flags.enabled("new-checkout")
    with context.bind(organization_id=7):
        assert flags.enabled("new-checkout")
        # Explicit arguments are the whole context.
        assert not flags.enabled("new-checkout", attributes={})


def test_all_returns_flags_that_clients_may_read(make: Make) -> None:
    make(client_visible=True, default_variant="on")
    make("hidden")
    assert flags.all() == {"new-checkout": Details(True, "on", "STATIC", None, None, 1)}
    assert set(flags.all(client_visible=False)) == {"new-checkout", "hidden"}


def test_token_changes_with_each_flag(make: Make) -> None:
    flag = make()
    before = flags.token()
    change(flag, name="New checkout")
    assert flags.token() not in {None, before}


def test_unknown_flag_raises_if_the_setting_says_so(make: Make, settings: Any) -> None:
    settings.FLAGS_UNKNOWN = "raise"
    make()
    flags.enabled("new-checkout")
    with pytest.raises(UnknownFlag, match="missing"):
        flags.enabled("missing")


def test_exposure_hook_gets_each_evaluation(make: Make, settings: Any) -> None:
    seen: list[Any] = []
    settings.FLAGS_EXPOSURE = lambda key, details, context: seen.append((key, details.variant, context.targeting_key))
    make(default_variant="on")
    flags.enabled("new-checkout", targeting_key=7)
    assert seen == [("new-checkout", "on", "7")]


def test_failing_exposure_hook_does_not_break_the_caller(make: Make, settings: Any) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("analytics are down")

    settings.FLAGS_EXPOSURE = fail
    make(default_variant="on")
    assert flags.enabled("new-checkout")


def test_failing_context_returns_default(make: Make, settings: Any) -> None:
    def fail(request: object) -> Any:
        raise RuntimeError("no context")

    settings.FLAGS_CONTEXT = fail
    make(rules=[rule(("plan", "exists", []))])
    details = flags.details("new-checkout", default=True)
    assert (details.value, details.error, details.message) == (True, "GENERAL", "RuntimeError: no context")


def test_failing_context_breaks_only_the_flags_that_need_it(make: Make, settings: Any) -> None:
    def fail(request: object) -> Any:
        raise RuntimeError("no context")

    settings.FLAGS_CONTEXT = fail
    make(rules=[rule(("plan", "exists", []))])
    make("plain", default_variant="on")
    request = RequestFactory().get("/")
    for options in ({}, {"targeting_key": "7"}, {"attributes": {"plan": "pro"}}):
        values = flags.all(request, client_visible=False, **options)
        assert {key: (details.value, details.error) for key, details in values.items()} == {
            "new-checkout": (None, "GENERAL"),
            "plain": (True, None),
        }


def test_provider_that_cannot_be_created_breaks_no_caller(settings: Any) -> None:
    def fail() -> Any:
        raise RuntimeError("no provider")

    settings.FLAGS_PROVIDER = fail
    request = RequestFactory().get("/")
    for caller in (None, request):
        assert flags.enabled("new-checkout", caller, default=True)
        assert flags.details("new-checkout", caller).error == "GENERAL"
        assert flags.all(caller) == {}
        assert (flags.kind("new-checkout", caller), flags.token(caller)) == (None, None)
    assert flags.writable is False


def test_failing_provider_is_logged_once_a_minute(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(DatabaseProvider):
        def pin(self) -> Any:
            raise RuntimeError("down")

    settings.FLAGS_PROVIDER = Failing
    facade.flags.failures.next_log = 0.0
    for _ in range(100):
        assert flags.enabled("new-checkout", default=True)
    assert len([record for record in caplog.records if record.name == "dovetail.flags"]) == 1


def test_swapped_rows_are_read_from_the_named_model() -> None:
    assert get_flag_model()._meta.label == "dovetail_flags.Flag"
