from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import dovetail_flags
from dovetail_flags import checks, events
from dovetail_flags.conf import conf
from dovetail_flags.rules.bucketing import VECTORS

PACKAGE = Path(__file__).parents[2] / "packages/flags"
README = (PACKAGE / "README.md").read_text()
EXTRAS = {
    "openfeature": "openfeature",
    "launchdarkly": "ld_openfeature",
    "unleash": "UnleashClient",
    "waffle": "waffle",
}


def test_settings_table_matches_declaration():
    assert f"<!-- settings -->\n{conf.documentation()}\n<!-- /settings -->" in README


def test_checks_table_lists_every_check():
    used = set(re.findall(r"dovetail_flags\.[EWI]\d{3}", Path(checks.__file__).read_text()))
    rows = re.findall(r"^\| `(dovetail_flags\.[EWI]\d{3})` \| \S.* \| \S.* \|$", README, flags=re.MULTILINE)
    assert sorted(rows) == sorted(used | {"dovetail_flags.E001", "dovetail_flags.W001"})


def test_bucket_table_has_the_test_vectors():
    rows = re.findall(r"^\| `([0-9a-f]{16})` \| (?:`(.*)`|\(empty\)) \| (\d+) \|$", README, flags=re.MULTILINE)
    assert [(salt, key, int(bucket)) for salt, key, bucket in rows] == list(VECTORS)


def test_documented_names_exist():
    table = README.split("## For your own code")[1].split("## Supported")[0]
    entries = re.findall(r"`(dovetail_flags\.[\w.]+)\.(\w+)`(?:, `(\w+)`)?", table)
    assert len(entries) >= 10
    for module, name, further in entries:
        for attribute in filter(None, (name, further)):
            assert hasattr(import_module(module), attribute), f"{module}.{attribute}"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"[\"`](dovetail_flags(?:\.\w+){2,})[\"`]", README))))
def test_documented_path_leads_to_an_object(path):
    module, _, name = path.rpartition(".")
    if match := re.match(r"dovetail_flags\.contrib\.(\w+?)(?:_store)?\.", path):
        extra = EXTRAS.get(match[1], match[1])
        pytest.importorskip(extra, reason=f"{extra} is not installed")
    if name.endswith("urls"):
        import_module(path)
    elif re.fullmatch(r"[EWI]\d{3}", name) is None:
        assert hasattr(import_module(module), name)


def test_readme_names_every_event():
    names = {value for name, value in vars(events).items() if name.startswith("FEATURE_")}
    assert names == set(re.findall(r"`(feature\.\w+)`", README))
    assert all(name in str(events.__doc__) for name in names)


def test_example_of_rules_is_valid():
    import json

    from dovetail_flags.rules.grammar import mistakes_in

    rules = json.loads(README.split("```json\n")[1].split("```")[0])
    flag = {"key": "x", "type": "boolean", "variants": {"on": True, "off": False}, "off_variant": "off"}
    assert mistakes_in({**flag, "default_variant": "off", "rules": rules}) == []


def test_changelog_has_current_version():
    version = re.search(r'^version = "(.+)"$', (PACKAGE / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert f"## [{version[1]}]" in (PACKAGE / "CHANGELOG.md").read_text()
    assert dovetail_flags.__doc__
