from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

import dovetail_audit
from dovetail_audit import checks, events
from dovetail_audit.conf import conf
from dovetail_audit.exports.writer import FORMATS
from dovetail_audit.reading.filters import FILTERS

PACKAGE = Path(__file__).parents[2] / "packages/audit"
README = (PACKAGE / "README.md").read_text()


def test_settings_table_matches_declaration() -> None:
    assert f"<!-- settings -->\n{conf.documentation()}\n<!-- /settings -->" in README


def test_checks_table_lists_every_check() -> None:
    assert checks.__file__ is not None
    used = set(re.findall(r"dovetail_audit\.[EWI]\d{3}", Path(checks.__file__).read_text()))
    rows = re.findall(r"^\| `(dovetail_audit\.[EWI]\d{3})` \| \S.* \| \S.* \|$", README, flags=re.MULTILINE)
    assert sorted(rows) == sorted(used | {"dovetail_audit.E001", "dovetail_audit.W001"})


def test_documented_names_exist() -> None:
    table = README.split("## For your own code")[1].split("## Supported")[0]
    entries = re.findall(r"`(dovetail_audit(?:\.\w+)*)\.(\w+)`(?:, `(\w+)`)?", table)
    assert len(entries) >= 9
    for module, name, further in entries:
        for attribute in filter(None, (name, further)):
            assert hasattr(import_module(module), attribute), f"{module}.{attribute}"


@pytest.mark.parametrize("path", sorted(set(re.findall(r'"(dovetail_audit(?:\.\w+)+)"', README))))
def test_documented_path_leads_to_an_object(path: str) -> None:
    module, _, name = path.rpartition(".")
    if name == "urls":
        import_module(path)
    else:
        assert hasattr(import_module(module), name)


def test_readme_names_every_command() -> None:
    folder = PACKAGE / "src/dovetail_audit/management/commands"
    commands = {path.stem for path in folder.glob("audit_*.py")}
    assert commands == set(re.findall(r"^\| `(audit_\w+)", README, flags=re.MULTILINE))


def test_readme_names_every_event() -> None:
    names = {value for name, value in vars(events).items() if name.startswith("AUDIT_")}
    assert names == set(re.findall(r"`(audit\.\w+)`", README))
    assert all(name in str(events.__doc__) for name in names)


def test_events_table_lists_the_events_of_all_packages() -> None:
    documented = {}
    for path in PACKAGE.parent.glob("*/src/*/**/events.py"):
        names = re.findall(r"^([a-z_]+\.[a-z_]+) ", ast.get_docstring(ast.parse(path.read_text())) or "", re.MULTILINE)
        documented |= dict.fromkeys(names, path.relative_to(PACKAGE.parent).parts[0])
    table = README.split("<!-- events -->")[1].split("<!-- /events -->")[0]
    rows = re.findall(r"^\| (`[^|]+`) \| (\w+) \| \S.* \|$", table, re.MULTILINE)
    assert documented == {name: package for names, package in rows for name in re.findall(r"`([^`]+)`", names)}
    assert len(documented) > 40


def test_readme_names_every_filter_and_format() -> None:
    assert set(FILTERS) == set(re.findall(r"`(filter\[[^`]+)`", README))
    assert all(f"`{name}`" in README or f"format={name}`" in README for name in FORMATS)


def test_changelog_has_current_version() -> None:
    version = re.search(r'^version = "(.+)"$', (PACKAGE / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert version is not None
    assert f"## [{version[1]}]" in (PACKAGE / "CHANGELOG.md").read_text()
    assert dovetail_audit.__doc__
