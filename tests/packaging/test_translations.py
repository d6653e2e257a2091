"""What people read is there in every language that a package ships, compiled, and nothing else is."""

from __future__ import annotations

import ast
import gettext
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils.translation.template import templatize

PACKAGES = sorted(path.parent.parent for path in Path(__file__).parents[2].glob("packages/*/src/*/locale/de"))
LANGUAGES = ("de", "en")
# Django and simplejwt have some of the other packages' texts, and theirs are not to be overruled.
_WHOLE = {
    "dovetail_adminapi",
    "dovetail_apikeys",
    "dovetail_audit",
    "dovetail_contract",
    "dovetail_core",
    "dovetail_flags",
    "dovetail_notify",
    "dovetail_tenancy",
}
WHOLE = [path for path in PACKAGES if path.name in _WHOLE]
# The packages may translate the texts of core that they show. Theirs take precedence over core's own.
CORE = Path(__file__).parents[2] / "packages/core/src/dovetail_core"
_MARKS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy"}


def said(package: Path) -> set[str]:
    """Every text that the code and the templates mark, in English."""
    found: set[str] = set()
    for path in package.rglob("*.py"):
        if "migrations" not in path.parts:
            found |= set(_marked(ast.parse(path.read_text())))
    for path in (*package.rglob("*.html"), *package.rglob("*.txt")):
        found |= set(_marked(ast.parse("\n".join(_calls(path.read_text())))))
    return found


def _calls(template: str) -> Iterator[str]:
    # As makemessages has it: the text of each tag as a call of gettext, all else as rows of X.
    code = templatize(template)
    for found in re.finditer(r"\bn?gettext\(\s*u?'((?:[^'\\]|\\.)*)'|\bn?gettext\(\s*u?\"((?:[^\"\\]|\\.)*)\"", code):
        yield f"gettext({(found[1] or found[2])!r})"


def _marked(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _MARKS:
            (text, *_rest) = node.args
            assert isinstance(text, ast.Constant), ast.unparse(node)
            yield str(text.value)


def written(catalogue: Path) -> dict[str, list[str]]:
    """Texts and their translations, one for each plural form."""
    found: dict[str, list[str]] = {}
    for block in catalogue.read_text().strip().split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        joined = re.sub(r'"\n"', "", "\n".join(lines))
        parts = re.findall(r'^(msgid|msgstr(?:\[\d\])?) "(.*)"$', joined, flags=re.MULTILINE)
        texts = [ast.literal_eval(f'"{text}"') for _, text in parts]
        found[texts[0]] = texts[1:]
    return found


@pytest.mark.parametrize("package", WHOLE, ids=lambda path: path.name)
def test_every_text_is_translated_and_no_other(package):
    assert said(package)
    for language in LANGUAGES:
        texts = written(package / "locale" / language / "LC_MESSAGES/django.po")
        texts.pop("")
        assert said(package) <= set(texts) <= said(package) | said(CORE), language
        assert all(all(translated) for translated in texts.values())
        if language == "en":
            # Without it English readers get the language of a project that is not English: gettext falls back to it.
            assert all(text == translated[0] for text, translated in texts.items())
        for text, translated in texts.items():
            places = sorted(re.findall(r"%\(\w+\)s|%[sd]|\{\w+\}", text))
            assert all(sorted(re.findall(r"%\(\w+\)s|%[sd]|\{\w+\}", each)) == places for each in translated), text


@pytest.mark.parametrize("package", [path for path in PACKAGES if path not in WHOLE], ids=lambda path: path.name)
def test_a_text_is_translated_here_or_where_it_comes_from(package):
    theirs: set[str] = set()
    for module in ("django.conf", "django.contrib.admin", "django.contrib.auth", "rest_framework_simplejwt"):
        (folder,) = importlib.util.find_spec(module).submodule_search_locations  # type: ignore[union-attr,misc]
        with (Path(folder) / "locale/de/LC_MESSAGES/django.mo").open("rb") as file:
            theirs |= set(gettext.GNUTranslations(file)._catalog)  # type: ignore[attr-defined]
    for language in LANGUAGES:
        texts = written(package / "locale" / language / "LC_MESSAGES/django.po")
        assert said(package) - set(texts) <= theirs, language
        assert set(texts) - {""} <= said(package) | said(CORE), language


def test_packages_translate_a_text_alike():
    # Django merges the catalogues of all apps into one. Of two translations, all apps show that of the app which comes
    # first in INSTALLED_APPS. A word with two meanings needs a message context.
    translations: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for package in PACKAGES:
        for text, translated in written(package / "locale/de/LC_MESSAGES/django.po").items():
            if text:
                translations.setdefault(text, {}).setdefault(tuple(translated), []).append(package.name)
    shared = [found for found in translations.values() if sum(map(len, found.values())) > 1]
    assert shared
    assert [found for found in shared if len(found) > 1] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_what_is_compiled_is_what_is_written(package):
    for language in LANGUAGES:
        folder = package / "locale" / language / "LC_MESSAGES"
        with (folder / "django.mo").open("rb") as file:
            compiled = gettext.GNUTranslations(file)
        texts = written(folder / "django.po")
        texts.pop("")
        found = compiled._catalog  # type: ignore[attr-defined]  # the only place that has all of them
        assert {key: value for key, value in found.items() if key} == {
            key: value
            for text, translated in texts.items()
            for key, value in (
                [(text, translated[0])]
                if len(translated) == 1
                else [((text, n), each) for n, each in enumerate(translated)]
            )
        }
