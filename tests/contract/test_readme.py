from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from django.utils.module_loading import import_string

from dovetail_contract import checks
from dovetail_contract.conf import conf

PACKAGE = Path(__file__).parents[2] / "packages/contract"
README = (PACKAGE / "README.md").read_text()


def test_settings_table_matches_declarations() -> None:
    assert f"<!-- settings -->\n{conf.documentation()}\n<!-- /settings -->" in README


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
