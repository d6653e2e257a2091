from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.utils.module_loading import import_string

from dovetail_contract import checks
from dovetail_contract.conf import conf
from dovetail_core.doctor import examine

PACKAGE = Path(__file__).parents[2] / "packages/contract"
README = (PACKAGE / "README.md").read_text()
DJANGO = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]


def test_settings_table_matches_declarations() -> None:
    assert f"<!-- settings -->\n{conf.documentation()}\n<!-- /settings -->" in README


def test_lines_of_middleware_lead_to_the_right_order(settings: Any) -> None:
    blocks = [
        block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "\nMIDDLEWARE" in f"\n{block}"
    ]
    values: dict[str, Any] = {"INSTALLED_APPS": [], "MIDDLEWARE": DJANGO}
    for block in blocks:
        exec(block, values)
    settings.MIDDLEWARE = values["MIDDLEWARE"]
    settings.REST_FRAMEWORK = values["REST_FRAMEWORK"]
    assert len(settings.MIDDLEWARE) == len(DJANGO) + 6
    assert [finding for finding in examine() if finding.id.startswith("middleware.")] == []


def test_each_check_has_a_row() -> None:
    used = set(re.findall(r"dovetail_contract\.[EWI]\d{3}", Path(str(checks.__file__)).read_text()))
    rows = re.findall(r"^\| `(dovetail_contract\.[EWI]\d{3})` \| \S.* \|$", README, flags=re.MULTILINE)
    assert rows == sorted(used | {"dovetail_contract.E001", "dovetail_contract.W001"})


def test_each_dotted_path_is_importable() -> None:
    paths = set(re.findall(r'"(?:\(\)": ")?(dovetail_contract\.\w+(?:\.\w+)+)"', README))
    assert len(paths) >= 4
    for path in paths:
        _, package, library = path.split(".")[:3]
        # Modules in contrib/ need an optional library.
        if package != "contrib" or find_spec(library):
            import_string(path)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, ["drf_spectacular.hooks.postprocess_schema_enums"]),
        ({"SPECTACULAR_SETTINGS": {"TITLE": "Shop"}}, ["drf_spectacular.hooks.postprocess_schema_enums"]),
        ({"SPECTACULAR_SETTINGS": {"POSTPROCESSING_HOOKS": ["shop.hook"]}}, ["shop.hook"]),
    ],
)
def test_schema_settings_keep_hooks_of_the_project(own: dict[str, Any], expected: list[str]) -> None:
    (block,) = re.findall(r"```python\n(REST_FRAMEWORK\[\"DEFAULT_SCHEMA_CLASS\"\].*?)```", README, flags=re.DOTALL)
    settings: dict[str, Any] = {"REST_FRAMEWORK": {}, **own}
    exec(block, settings)
    changed = settings["SPECTACULAR_SETTINGS"]
    assert changed["POSTPROCESSING_HOOKS"] == [*expected, "dovetail_contract.schema.postprocess"]
    assert changed.get("TITLE") == own.get("SPECTACULAR_SETTINGS", {}).get("TITLE")
