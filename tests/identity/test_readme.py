from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import dovetail_identity
from dovetail_identity import checks, events
from dovetail_identity.conf import conf

PACKAGE = Path(__file__).parents[2] / "packages/identity"
README = (PACKAGE / "README.md").read_text()


def test_settings_table_matches_the_declaration() -> None:
    assert f"<!-- settings -->\n{conf.documentation()}\n<!-- /settings -->" in README


def test_all_checks_are_documented() -> None:
    assert checks.__file__ is not None
    source = "".join(Path(checks.__file__).with_name(name).read_text() for name in ("apps.py", "checks.py"))
    used = set(re.findall(r"dovetail_identity\.[EWI]\d{3}", source))
    rows = re.findall(r"^\| `(dovetail_identity\.[EWI]\d{3})` \| \S.* \| \S.* \|$", README, flags=re.MULTILINE)
    assert sorted(rows) == sorted(used | {"dovetail_identity.E001", "dovetail_identity.W001"})


def test_documented_names_exist() -> None:
    table = README.split("## For your own code")[1].split("## Limits")[0]
    for module, name, further in re.findall(r"`(dovetail_identity\.[\w.]+)\.(\w+)(?:\(.*?\))?`(?:, `(\w+)`)?", table):
        for attribute in filter(None, (name, further)):
            parent = import_module(module)
            assert hasattr(parent, attribute) or import_module(f"{module}.{attribute}"), f"{module}.{attribute}"


def test_all_events_are_documented() -> None:
    names = {value for name, value in vars(events).items() if name.startswith(("USER_", "SESSION_"))}
    assert names == set(re.findall(r"`((?:user|session)\.\w+)`", README))
    assert all(name in str(events.__doc__) for name in names)


def test_changelog_contains_the_version() -> None:
    version = re.search(r'^version = "(.+)"$', (PACKAGE / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert version is not None
    assert f"## [{version[1]}]" in (PACKAGE / "CHANGELOG.md").read_text()
    assert dovetail_identity.__doc__
