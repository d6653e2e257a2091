from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import dovetail_adminapi
from dovetail_adminapi.conf import conf
from dovetail_adminapi.models import AdminPermission
from dovetail_adminapi.support import events

PACKAGE = Path(__file__).parents[2] / "packages/adminapi"
README = (PACKAGE / "README.md").read_text()
#: What modules of the package import that is not always installed.
OPTIONAL = {"dovetail_adminapi.contrib.celery": "celery", "dovetail_adminapi.contrib.tasks": "django.tasks"}


def test_settings_table_matches_declaration():
    assert f"<!-- settings -->\n{conf.documentation()}\n<!-- /settings -->" in README


def test_readme_is_short_besides_code_and_settings():
    text = re.sub(r"<!-- settings -->.*?<!-- /settings -->|```.*?```", "", README, flags=re.DOTALL)
    assert len(text.split()) <= 600


@pytest.mark.parametrize("path", sorted(set(re.findall(r"[\"`](dovetail_adminapi(?:\.\w+){2,})[\"`]", README))))
def test_documented_path_leads_to_an_object(path):
    module, _, name = path.rpartition(".")
    if module in OPTIONAL:
        pytest.importorskip(OPTIONAL[module], reason=f"{OPTIONAL[module]} is not installed")
    if name.endswith("urls"):
        import_module(path)
    else:
        assert hasattr(import_module(module), name)


def test_documented_names_of_permissions_exist():
    names = set(re.findall(r"`dovetail_adminapi\.((?:view|run|end)_\w+)`", README))
    assert "view_user" in names
    assert names - {"view_user"} <= {codename for codename, _label in AdminPermission._meta.permissions}


def test_events_of_support_access_are_documented_in_their_module():
    names = {value for name, value in vars(events).items() if name.startswith("SUPPORT_")}
    assert len(names) == 6
    assert all(name in str(events.__doc__) for name in names)


def test_changelog_has_current_version():
    version = re.search(r'^version = "(.+)"$', (PACKAGE / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert version is not None
    assert f"## [{version[1]}]" in (PACKAGE / "CHANGELOG.md").read_text()
    assert dovetail_adminapi.__doc__
