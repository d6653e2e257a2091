from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import dovetail_magiclink
from dovetail_magiclink import checks, events
from dovetail_magiclink.conf import conf

PACKAGE = Path(__file__).parents[2] / "packages/magiclink"
README = (PACKAGE / "README.md").read_text()


def test_settings_table_matches_declaration() -> None:
    assert f"<!-- settings -->\n{conf.documentation()}\n<!-- /settings -->" in README


def test_checks_table_lists_every_check() -> None:
    assert checks.__file__ is not None
    used = set(re.findall(r"dovetail_magiclink\.[EWI]\d{3}", Path(checks.__file__).read_text()))
    rows = re.findall(r"^\| `(dovetail_magiclink\.[EWI]\d{3})` \| \S.* \| \S.* \|$", README, flags=re.MULTILINE)
    assert sorted(rows) == sorted(used | {"dovetail_magiclink.E001", "dovetail_magiclink.W001"})


def test_documented_names_exist() -> None:
    table = README.split("## For your own code")[1].split("## Supported")[0]
    entries = re.findall(r"`(dovetail_magiclink\.[\w.]+)\.(\w+)(?:\(.*?\))?`(?:, `(\w+)`)?", table)
    assert len(entries) >= 9
    for module, name, further in entries:
        for attribute in filter(None, (name, further)):
            assert hasattr(import_module(module), attribute), f"{module}.{attribute}"


@pytest.mark.parametrize("path", sorted(set(re.findall(r'"(dovetail_magiclink(?:\.\w+)+)"', README))))
def test_documented_path_leads_to_an_object(path: str) -> None:
    module, _, name = path.rpartition(".")
    if ".contrib." in path:
        extra = {"celery": "celery", "simplejwt": "rest_framework_simplejwt"}[module.rpartition(".")[2]]
        pytest.importorskip(extra, reason=f"{extra} is not installed")
    if name == "urls":
        import_module(path)
    else:
        assert hasattr(import_module(module), name)


def test_readme_names_every_event() -> None:
    names = {value for name, value in vars(events).items() if name.startswith("MAGIC_LINK_")}
    assert names == set(re.findall(r"`(magic_link\.\w+)`", README))
    assert all(name in str(events.__doc__) for name in names)


def test_readme_cites_the_standards() -> None:
    limits = README.split("## What this does not protect")[1].split("\n## ")[0]
    for standard in ("NIST SP 800-63B-4", "3.1.3.1", "ASVS 5.0", "6.3.6", "6.6.2", "6.5.5"):
        assert standard in limits


def test_changelog_has_current_version() -> None:
    version = re.search(r'^version = "(.+)"$', (PACKAGE / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert version is not None
    assert f"## [{version[1]}]" in (PACKAGE / "CHANGELOG.md").read_text()
    assert dovetail_magiclink.__doc__
