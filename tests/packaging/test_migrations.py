"""Shipped migrations name models that a project may replace or choose only by the setting that names them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.packaging.tree import PACKAGES

MIGRATIONS = [path for package in PACKAGES for path in package.migrations()]
each_migration = pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: f"{path.parents[1].name}/{path.stem}")


@cache
def swappable_models() -> set[str]:
    """The labels of every model of ours with ``Meta.swappable``, in lower case, as migrations may write them."""
    found = {"auth.user"}
    for path in MIGRATIONS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("CreateModel"):
                arguments = {keyword.arg: keyword.value for keyword in node.keywords}
                options = arguments.get("options")
                if options is not None and "swappable" in ast.literal_eval(_constants(options)):
                    name = ast.literal_eval(arguments["name"])
                    found.add(f"{path.parents[1].name}.{name}".lower())
    return found


def _constants(node: ast.expr) -> ast.expr:
    """A dict's keys with its values left out: constraints and the like are no literals."""
    assert isinstance(node, ast.Dict)
    return ast.Dict(keys=node.keys, values=[ast.Constant(None)] * len(node.values))


def strings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_swappable_models_are_found() -> None:
    """Or the test below would hold nothing."""
    assert swappable_models() >= {
        "auth.user",
        "dovetail_identity.user",
        "dovetail_tenancy.membership",
        "dovetail_tenancy.organization",
    }


@each_migration
def test_no_migration_names_a_model_that_may_be_another(path: Path) -> None:
    assert {text for text in strings(path) if text.lower() in swappable_models()} == set()


@each_migration
def test_what_a_setting_names_is_reached_by_dependency_and_target(path: Path) -> None:
    text = path.read_text()
    assert "swappable_dependency" not in text
    assert not re.search(r"settings\.[A-Z_]+", text)
    targets = set(re.findall(r"\btarget\(\s*['\"](\w+)", text))
    assert targets <= set(re.findall(r"\bdependency\(\s*['\"](\w+)", text))
    if targets:
        # A plain Migration would keep the name that a model had before the project renamed it.
        assert "class Migration(TargetingMigration)" in text


@each_migration
def test_every_model_names_its_primary_key_and_its_type(path: Path) -> None:
    """Or a project's DEFAULT_AUTO_FIELD would decide about it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("CreateModel"):
            fields = ast.unparse(next(keyword.value for keyword in node.keywords if keyword.arg == "fields"))
            assert "primary_key=True" in fields
            assert "auto_created=True" not in fields
