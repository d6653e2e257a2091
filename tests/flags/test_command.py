from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from dovetail_flags import Declared, services
from dovetail_flags.base import get_flag_model
from tests.flags.conftest import rule, split

Make = Callable[..., Any]


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("flags", *arguments, stdout=output, stderr=output)
    return output.getvalue()


def test_list_shows_state_and_version(make: Make) -> None:
    make(rules=[rule()])
    make("other", enabled=False)
    services.archive_flag(flag=make("archived"))
    assert run("list") == "new-checkout on boolean v1 1 rules\nother off boolean v1 0 rules\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"rules": 5},
        {"rules": 5, "enabled": False},
        {"rules": {"serve": "on"}, "enabled": False},
        {"rules": [{"serve": "nobody"}]},
        {"variants": []},
    ],
)
def test_list_names_flags_that_cannot_be_evaluated(make: Make, fields: dict[str, Any]) -> None:
    flag = make("broken")
    for name, value in fields.items():
        setattr(flag, name, value)
    flag.save()
    make("sound")
    state = "on" if flag.enabled else "off"
    assert run("list") == f"broken {state} boolean v1 invalid variants or rules\nsound on boolean v1 0 rules\n"


def test_sync_creates_declared_flags_disabled(db: None, settings: Any) -> None:
    settings.FLAGS_DECLARED = {
        "new-checkout": Declared(bool, default=True, client_visible=True, description="The new one."),
        "limit": Declared(int, default=3),
    }
    assert run("sync").splitlines() == ["limit created, disabled.", "new-checkout created, disabled."]
    flag = get_flag_model().objects.get(key="new-checkout")
    assert (flag.enabled, flag.client_visible, flag.description) == (False, True, "The new one.")
    limit = get_flag_model().objects.get(key="limit")
    assert (limit.type, limit.variants, limit.off_variant) == ("integer", {"default": 3}, "default")
    assert run("sync") == ""


def test_sync_names_flags_of_another_type(make: Make, settings: Any) -> None:
    settings.FLAGS_DECLARED = {"new-checkout": Declared(str, default="x")}
    make()
    assert "is of the type boolean, but declared as string" in run("sync")


def test_stale_lists_flags_and_fails_if_strict(make: Make) -> None:
    assert run("stale", "--strict") == ""
    make(expires_at="2020-01-01T00:00:00Z", owner="team-a")
    assert run("stale").startswith("new-checkout team-a expires 2020-01-01 unchanged since ")
    with pytest.raises(CommandError, match="1 flag is stale") as caught:
        run("stale", "--strict")
    assert caught.value.returncode == 1


def test_export_can_be_imported(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(rules=[split(10)])
    exported = run("export")
    file = tmp_path / "flags.json"
    file.write_text(exported)
    get_flag_model().objects.all().delete()
    assert run("import", str(file), "--reason", "Restore") == "new-checkout created\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(exported))
    assert run("import", "-") == "new-checkout unchanged\n"


def test_import_reads_another_library(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("dovetail_flags.contrib.waffle")
    module.document = lambda: {  # type: ignore[attr-defined]
        "format": services.EXPORT_FORMAT,
        "flags": [{"key": "a", "type": "boolean"}],
        "notes": ["'A' has the key 'a'."],
    }
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert run("import", "--from", "waffle") == "a created\n'A' has the key 'a'.\n"


def test_import_names_what_it_leaves_as_it_is(make: Make, tmp_path: Path) -> None:
    flag = make(rules=[split(10)])
    document = services.export_flags()
    document["flags"][0]["salt"] = "other"
    file = tmp_path / "flags.json"
    file.write_text(json.dumps(document))
    services.set_enabled(flag=flag, enabled=False)
    output = run("import", str(file))
    assert "--toggle" in output
    assert "new-checkout has another salt" in output
    assert "--toggle" not in run("import", str(file), "--toggle")
    flag.refresh_from_db()
    assert flag.enabled


def test_import_leaves_rules_that_are_no_list_if_it_has_none(make: Make, tmp_path: Path) -> None:
    flag = make()
    flag.rules = 5
    flag.save()
    file = tmp_path / "flags.json"
    flags = [{"key": "new-checkout", "type": "boolean"}]
    file.write_text(json.dumps({"format": services.EXPORT_FORMAT, "flags": flags}))
    assert run("import", str(file)) == "new-checkout unchanged\n"


@pytest.mark.parametrize("arguments", [[], ["x.json", "--from", "waffle"], ["missing.json"]])
def test_import_without_one_readable_source_is_refused(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        run("import", *arguments)


def test_import_of_invalid_flags_names_the_mistakes(db: None, tmp_path: Path) -> None:
    file = tmp_path / "flags.json"
    file.write_text(json.dumps({"format": services.EXPORT_FORMAT, "flags": [{"key": "A", "type": "boolean"}]}))
    with pytest.raises(CommandError, match="/flags/0/key"):
        run("import", str(file))


def test_explain_shows_what_each_rule_decided(make: Make) -> None:
    later = {**rule(**{"from": "2040-01-01T00:00:00Z"}), "id": "later"}
    plan = {**rule(("plan", "eq", ["pro"])), "id": "plan"}
    make(rules=[later, plan, {**split(0, by="user"), "id": "user"}, {**split(100), "id": "rest"}])
    lines = run("explain", "new-checkout", "--org", "7", "--attribute", "plan=free").splitlines()
    assert lines[:4] == [
        "new-checkout on boolean v1 4 rules",
        "  later: not at this time",
        '  plan: no match: {"attribute": "plan", "op": "eq", "values": ["pro"]}',
        "  user: no key for the percentage",
    ]
    assert lines[4].startswith("  rest: matched, bucket ")
    assert lines[5] == "= on true (SPLIT)"
    assert "  plan: matched" in run("explain", "new-checkout", "--user", "1", "--attribute", "plan=pro")


@pytest.mark.parametrize("arguments", [["missing"], ["new-checkout", "--attribute", "plan"]])
def test_explain_refuses_unknown_flag_and_malformed_attribute(make: Make, arguments: list[str]) -> None:
    make()
    with pytest.raises(CommandError):
        run("explain", *arguments)


def test_explain_names_invalid_rules(make: Make) -> None:
    flag = make()
    flag.rules = [{"serve": "nobody"}]
    flag.save()
    with pytest.raises(CommandError, match="invalid variants or rules"):
        run("explain", "new-checkout")
