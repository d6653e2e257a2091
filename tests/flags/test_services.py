from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction

from dovetail_core import context
from dovetail_core.events import Event, domain_event
from dovetail_flags import flags, services
from dovetail_flags.base import get_flag_model
from dovetail_flags.exceptions import (
    Archived,
    Conflict,
    Gone,
    InvalidFlag,
    KeyTaken,
    ToggleForbidden,
    TypeIsFixed,
    UnknownVersion,
)
from dovetail_flags.lifecycle.stale import is_stale, stale
from dovetail_flags.models import FlagRevision, FlagSet
from tests.flags.conftest import change, rule, split

Make = Callable[..., Any]


def history(key: str = "new-checkout") -> list[tuple[int, str, list[str]]]:
    rows = FlagRevision.objects.filter(flag_key=key).order_by("version")
    return [(row.version, row.event, row.changes) for row in rows]


def test_created_boolean_flag_is_disabled_and_hidden(db: None) -> None:
    flag = services.create_flag(key="new-checkout")
    assert (flag.enabled, flag.client_visible, flag.variants) == (False, False, {"on": True, "off": False})
    assert (flag.off_variant, flag.default_variant, flag.version) == ("off", "on", 1)
    assert history() == [(1, "feature.created", [])]


def test_created_flag_of_another_type_needs_variants(db: None) -> None:
    with pytest.raises(InvalidFlag, match="/variants"):
        services.create_flag(key="theme", type="string")
    flag = services.create_flag(key="theme", type="string", variants={"light": "#fff", "dark": "#000"})
    assert (flag.off_variant, flag.default_variant) == ("light", "dark")


def test_rules_without_ids_get_free_ones(make: Make) -> None:
    flag = make(rules=[{"serve": "on"}, {"id": "rule-1", "serve": "off"}, {"serve": "on"}])
    assert [item["id"] for item in flag.rules] == ["rule-2", "rule-1", "rule-3"]


def test_taken_key_is_refused(make: Make) -> None:
    make()
    with pytest.raises(KeyTaken, match="new-checkout"):
        services.create_flag(key="new-checkout")


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"enabled": 1}, "/enabled", "not_a_boolean"),
        ({"client_visible": "yes"}, "/client_visible", "not_a_boolean"),
        ({"name": 1}, "/name", "invalid_text"),
        ({"name": "x" * 201}, "/name", "invalid_text"),
        ({"description": "a\x00b"}, "/description", "invalid_text"),
        ({"owner": None}, "/owner", "invalid_text"),
        ({"salt": ""}, "/salt", "invalid_salt"),
        ({"salt": "a:b"}, "/salt", "invalid_salt"),
        ({"expires_at": "soon"}, "/expires_at", "invalid_time"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "/expires_at", "invalid_time"),
        ({"expires_at": "0001-01-01T00:00:00Z"}, "/expires_at", "invalid_time"),
        ({"expires_at": datetime(2030, 1, 1)}, "/expires_at", "invalid_time"),  # noqa: DTZ001  # a naive time
        ({"version": 7}, "/version", "unknown_field"),
        ({"archived_at": None}, "/archived_at", "unknown_field"),
        ({"colour": "red"}, "/colour", "unknown_field"),
        ({"rules": [{"serve": "x"}]}, "/rules/0/serve", "unknown_variant"),
        ({"tags": "a"}, "/tags", "invalid_tags"),
        ({"type": "date"}, "/type", "unknown_type"),
    ],
)
def test_invalid_field_is_refused_with_pointer(db: None, fields: dict[str, Any], pointer: str, code: str) -> None:
    with pytest.raises(InvalidFlag) as caught:
        services.create_flag(key="new-checkout", **fields)
    assert [(mistake.pointer, mistake.code) for mistake in caught.value.mistakes] == [(pointer, code)]
    assert not get_flag_model().objects.exists()


def test_update_stores_a_version_and_who_and_why(make: Make, events: list[Event]) -> None:
    ada = get_user_model().objects.create_user("ada")
    flag = make()
    updated = services.update_flag(
        flag=flag, version=1, changes={"name": "New", "rules": [split(10)]}, actor=ada, reason="Rollout"
    )
    assert (updated.version, updated.name) == (2, "New")
    revision = FlagRevision.objects.get(version=2)
    assert (revision.changes, revision.actor_key, revision.reason) == (["name", "rules"], str(ada.pk), "Rollout")
    assert revision.snapshot == updated.document()
    event = events[-1]
    assert (event.name, event.actor, event.target) == ("feature.updated", ada, updated)
    assert event.data == {"flag": "new-checkout", "version": 2, "changes": ["name", "rules"], "reason": "Rollout"}


def test_event_has_no_organization(db: None, events: list[Event]) -> None:
    with context.bind(organization_id=7):
        services.create_flag(key="new-checkout")
        assert context.organization_id() == 7
    assert events[-1].organization_id is None


def test_update_of_an_earlier_version_is_a_conflict(make: Make) -> None:
    flag = make()
    change(flag, name="first")
    with pytest.raises(Conflict) as caught:
        services.update_flag(flag=flag, version=1, changes={"name": "second"})
    assert (caught.value.current.name, caught.value.current.version) == ("first", 2)


def test_update_without_difference_is_no_version(make: Make, events: list[Event]) -> None:
    rules = [rule(("plan", "eq", ["pro"]))]
    flag = make(rules=rules)
    del events[:]
    # PostgreSQL stores "op" before "attribute".
    assert change(flag, enabled=True, rules=rules, type="boolean").version == 1
    assert not events
    assert len(history()) == 1


def test_update_tells_true_from_one(make: Make) -> None:
    flag = make(rules=[rule(("plan", "in", [1]))])
    assert change(flag, rules=[rule(("plan", "in", [True]))]).version == 2


def test_type_of_a_flag_is_fixed(make: Make) -> None:
    with pytest.raises(TypeIsFixed, match="boolean"):
        change(make(), type="string")


def test_update_of_fixed_field_is_refused(make: Make) -> None:
    with pytest.raises(InvalidFlag, match="/salt"):
        change(make(), salt="abc")


def test_failed_update_changes_nothing(make: Make) -> None:
    flag = make()
    with pytest.raises(InvalidFlag):
        change(flag, name="new", rules=[{"serve": "x"}])
    assert get_flag_model().objects.get().document() == flag.document()


def test_kill_switch_needs_no_version(make: Make, events: list[Event]) -> None:
    flag = make(default_variant="on")
    change(flag, name="newer")
    killed = services.set_enabled(flag=flag, enabled=False, actor="on-call", reason="Errors")
    assert (killed.enabled, killed.version, events[-1].name) == (False, 3, "feature.disabled")
    assert not flags.enabled("new-checkout")
    assert services.set_enabled(flag=flag, enabled=False).version == 3
    services.set_enabled(flag=flag, enabled=True)
    assert events[-1].name == "feature.enabled"


def test_kill_switch_disables_a_flag_that_the_grammar_refuses(make: Make) -> None:
    flag = make(default_variant="on")
    get_flag_model().objects.update(tags=["x" * 60])  # by a fixture, or an earlier version
    flags.reset()
    assert flags.enabled("new-checkout")
    services.set_enabled(flag=flag, enabled=False)
    assert not flags.enabled("new-checkout")
    flag.refresh_from_db()
    with pytest.raises(InvalidFlag, match="/tags"):
        change(flag, name="x", enabled=True)


def test_every_way_to_switch_a_flag_emits_its_event(make: Make, events: list[Event]) -> None:
    def names() -> list[str]:
        seen = [event.name for event in events]
        del events[:]
        return seen

    flag = make()
    assert names() == ["feature.created", "feature.enabled"]
    flag = change(flag, enabled=False)
    assert names() == ["feature.disabled"]
    flag = change(flag, enabled=True, name="x")
    assert names() == ["feature.updated", "feature.enabled"]
    document = services.export_flags()
    flag = services.revert_flag(flag=flag, to_version=2)
    assert names() == ["feature.reverted", "feature.disabled"]
    assert [event for _, event, _ in history()] == [
        "feature.created",
        "feature.disabled",
        "feature.updated",
        "feature.reverted",
    ]
    flag.delete()
    services.import_flags(document=document)
    assert names() == ["feature.created", "feature.enabled"]


def test_switch_without_the_permission_is_refused(make: Make) -> None:
    with pytest.raises(ToggleForbidden, match="toggle_flag"):
        services.create_flag(key="other", enabled=True, may_toggle=False)
    flag = make()
    with pytest.raises(ToggleForbidden):
        services.update_flag(flag=flag, version=1, changes={"enabled": False}, may_toggle=False)
    flag = services.update_flag(flag=flag, version=1, changes={"enabled": True, "name": "x"}, may_toggle=False)
    flag = services.revert_flag(flag=flag, to_version=1, may_toggle=False)
    services.set_enabled(flag=flag, enabled=False)
    with pytest.raises(ToggleForbidden):
        services.revert_flag(flag=flag, to_version=1, may_toggle=False)
    assert [row.key for row in get_flag_model().objects.filter(enabled=False)] == ["new-checkout"]


def test_update_from_before_the_kill_switch_is_a_conflict(make: Make) -> None:
    flag = make()
    services.set_enabled(flag=flag, enabled=False)
    with pytest.raises(Conflict):
        services.update_flag(flag=flag, version=1, changes={"enabled": True, "name": "x"})


def test_archived_flag_cannot_change(make: Make, events: list[Event]) -> None:
    flag = make()
    archived = services.archive_flag(flag=flag, reason="Done")
    assert archived.archived_at is not None
    assert events[-1].name == "feature.archived"
    assert services.archive_flag(flag=flag).version == archived.version
    with pytest.raises(Archived):
        services.set_enabled(flag=flag, enabled=True)
    with pytest.raises(Archived):
        change(archived, name="x")


def test_revert_restores_an_earlier_version(make: Make, events: list[Event]) -> None:
    flag = make(rules=[split(10)], expires_at="2030-01-01T00:00:00Z")
    first = flag.document()
    flag = change(flag, rules=[split(50)], name="x", expires_at=None)
    flag = services.archive_flag(flag=flag)
    reverted = services.revert_flag(flag=flag, to_version=1, version=3, reason="Too early")
    assert (reverted.version, reverted.document()) == (4, first)
    assert get_flag_model().objects.get().document() == first
    assert events[-1].name == "feature.reverted"


def test_revert_to_unknown_version_is_refused(make: Make) -> None:
    with pytest.raises(UnknownVersion, match="9"):
        services.revert_flag(flag=make(), to_version=9)


def test_revert_of_an_earlier_version_is_a_conflict(make: Make) -> None:
    flag = make()
    change(flag, name="x")
    with pytest.raises(Conflict):
        services.revert_flag(flag=flag, to_version=1, version=1)


def test_change_of_deleted_flag_is_refused(make: Make) -> None:
    flag = make()
    get_flag_model().objects.all().delete()
    for call in (
        lambda: services.set_enabled(flag=flag, enabled=False),
        lambda: services.update_flag(flag=flag, version=1, changes={}),
        lambda: services.archive_flag(flag=flag),
        lambda: services.revert_flag(flag=flag, to_version=1),
    ):
        with pytest.raises(Gone):
            call()


def test_history_continues_after_a_deletion(make: Make) -> None:
    flag = make()
    change(flag, name="x")
    get_flag_model().objects.all().delete()
    assert make().version == 3
    assert [version for version, _, _ in history()] == [1, 2, 3]


@pytest.mark.parametrize("reason", [None, 1, "x" * 2001, "a\x00"])
def test_invalid_reason_is_refused(make: Make, reason: Any) -> None:
    flag = make()
    with pytest.raises(InvalidFlag, match="/reason"):
        services.set_enabled(flag=flag, enabled=False, reason=reason)
    assert get_flag_model().objects.get().enabled


def test_failing_receiver_cancels_the_change(make: Make) -> None:
    flag = make(default_variant="on")

    def fail(event: Event, **kwargs: object) -> None:
        raise IntegrityError("audit is full")

    domain_event.connect(fail)
    try:
        with pytest.raises(IntegrityError), transaction.atomic():
            services.set_enabled(flag=flag, enabled=False)
    finally:
        domain_event.disconnect(fail)
    assert flags.enabled("new-checkout")
    assert len(history()) == 1


def test_export_can_be_imported(make: Make) -> None:
    make(rules=[split(10)], tags=["checkout"], owner="team-a", expires_at="2030-01-01T00:00:00Z")
    make("theme", type="string", variants={"a": "x", "b": "y"})
    services.archive_flag(flag=make("old"))
    document = services.export_flags()
    assert [flag["key"] for flag in document["flags"]] == ["new-checkout", "theme"]
    get_flag_model().objects.all().delete()
    outcomes = services.import_flags(document=document)
    assert outcomes == {"new-checkout": "created", "theme": "created"}
    assert services.export_flags() == document
    assert set(services.import_flags(document=document).values()) == {"unchanged"}
    change(get_flag_model().objects.get(key="theme"), name="x")
    assert services.import_flags(document=document)["theme"] == "updated"


def test_import_does_not_undo_the_kill_switch(make: Make) -> None:
    flag = make(default_variant="on")
    document = services.export_flags()
    services.set_enabled(flag=flag, enabled=False, reason="it burns")
    result = services.import_flags(document=document)
    assert (result, result.other_states) == ({"new-checkout": "unchanged"}, ["new-checkout"])
    assert not flags.enabled("new-checkout")
    result = services.import_flags(document=document, toggle=True)
    assert (result, result.other_states) == ({"new-checkout": "updated"}, [])
    assert flags.enabled("new-checkout")


def test_import_of_an_invalid_state_is_refused(make: Make) -> None:
    make()
    document = services.export_flags()
    document["flags"][0]["enabled"] = "yes"
    with pytest.raises(InvalidFlag, match="/flags/0/enabled"):
        services.import_flags(document=document)


def test_import_names_percentages_of_another_salt(make: Make) -> None:
    make(rules=[split(10)])
    make("fixed")
    document = services.export_flags()
    get_flag_model().objects.all().delete()
    assert services.import_flags(document=document).other_salts == []
    get_flag_model().objects.all().delete()
    salt = make().salt
    make("fixed")
    assert services.import_flags(document=document).other_salts == ["new-checkout"]
    assert get_flag_model().objects.get(key="new-checkout").salt == salt


def test_import_with_a_mistake_changes_nothing(make: Make) -> None:
    make()
    document = {
        "format": services.EXPORT_FORMAT,
        "flags": [{"key": "a"}, {"key": "B"}, 7, {"key": "new-checkout", "rules": [{"serve": "x"}]}],
    }
    document["flags"][0]["type"] = document["flags"][1]["type"] = "boolean"  # type: ignore[index]
    with pytest.raises(InvalidFlag) as caught:
        services.import_flags(document=document)
    assert [mistake.pointer for mistake in caught.value.mistakes] == [
        "/flags/1/key",
        "/flags/2",
        "/flags/3/rules/0/serve",
    ]
    assert [flag.key for flag in get_flag_model().objects.all()] == ["new-checkout"]


@pytest.mark.parametrize("key", ["NEW-checkout", "new-checkout ", "new-checkout\0", None])
def test_import_of_another_spelling_changes_no_flag(make: Make, key: Any) -> None:
    make()
    document = {"format": services.EXPORT_FORMAT, "flags": [{"key": key, "type": "boolean", "name": "x"}]}
    with pytest.raises(InvalidFlag, match="/flags/0/key"):
        services.import_flags(document=document)
    assert get_flag_model().objects.get().version == 1


@pytest.mark.parametrize(
    "document", [None, [], {}, {"format": "x"}, {"format": services.EXPORT_FORMAT}, {"format": None, "flags": []}]
)
def test_document_of_another_format_is_refused(db: None, document: Any) -> None:
    with pytest.raises(InvalidFlag):
        services.import_flags(document=document)


def test_import_runs_one_hook_after_commit(db: None, django_capture_on_commit_callbacks: Any) -> None:
    flags_in = [{"key": f"flag-{number}", "type": "boolean"} for number in range(20)]
    with django_capture_on_commit_callbacks() as callbacks:
        services.import_flags(document={"format": services.EXPORT_FORMAT, "flags": flags_in})
    assert len(callbacks) == 1


@pytest.mark.parametrize(
    ("fields", "days", "expected"),
    [
        ({}, 400, False),
        ({"temporary": True}, 29, False),
        ({"temporary": True}, 31, True),
        ({"expires_at": timedelta(hours=-1)}, 0, True),
        ({"expires_at": timedelta(hours=1)}, 0, False),
    ],
)
def test_stale_flags_are_expired_or_long_unchanged(
    make: Make, fields: dict[str, Any], days: int, expected: bool
) -> None:
    now = datetime.now(UTC)
    values = {name: now + value if isinstance(value, timedelta) else value for name, value in fields.items()}
    flag = make(**values)
    rows = get_flag_model().objects.all()
    rows.update(updated_at=now - timedelta(days=days))
    flag.refresh_from_db()
    assert is_stale(flag) is expected
    assert rows.filter(stale()).exists() is expected
    flag = services.archive_flag(flag=flag)
    # As long after the archival as after the last change.
    rows.update(updated_at=now - timedelta(days=days))
    flag.refresh_from_db()
    assert not is_stale(flag)
    assert not rows.filter(stale()).exists()


def test_set_of_flags_has_one_row(make: Make) -> None:
    make()
    make("other")
    assert FlagSet.objects.count() == 1
