from __future__ import annotations

import ast
import re
from pathlib import Path

from dovetail_core.conf import conf

README = (Path(__file__).parents[2] / "packages/core/README.md").read_text()


def test_settings_table_matches_the_declaration() -> None:
    assert f"<!-- settings -->\n{conf.documentation()}\n<!-- /settings -->" in README


def test_examples_are_python_and_their_imports_work() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    imports = [node for block in blocks for node in ast.walk(ast.parse(block)) if isinstance(node, ast.ImportFrom)]
    assert len(imports) >= 6
    for node in imports:
        exec(compile(ast.Module([node], []), "README.md", "exec"), {})
