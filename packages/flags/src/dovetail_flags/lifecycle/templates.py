"""The keys of flags that templates name, for a system check.

Templates are searched and not compiled: a mistake in one of them must not hide the others, and Django's lexer alone
takes ten times as long.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from django.template import engines
from django.template.backends.django import DjangoTemplates
from django.template.engine import Engine
from django.utils.text import smart_split

from dovetail_flags.templatetags.dovetail_flags import register

_TAGS: Final = ("flag", "flag_value")
_USED: Final = re.compile(rb"\{%\s*flag(_value)?\s")
#: Comments, and the tags that decide what another tag means.
_TOKEN: Final = re.compile(
    r"\{#.*?#\}|\{%\s*(?P<tag>flag|flag_value|load|comment|endcomment|verbatim|endverbatim)(?P<words>\s.*?)?%\}"
)
_LITERAL: Final = re.compile(r"""(?:key=)?(["'])(?P<key>[^"'\\]*)\1""")


def keys_in_templates() -> dict[str, list[str]]:
    """Return the names of templates by the keys that their tags have as literals.

    Only the templates in directories are read, which are those of Django's own loaders.
    """
    used: dict[str, list[str]] = {}
    for engine in _engines():
        for name, source in _sources(engine):
            for key in sorted(set(_keys(source, engine))):
                used.setdefault(key, []).append(name)
    return used


def _engines() -> Iterator[Engine]:
    try:
        backends = engines.all()
    except Exception:  # noqa: BLE001  # a mistake in TEMPLATES, which the first use of a template reports
        return
    for backend in backends:
        if isinstance(backend, DjangoTemplates):
            yield backend.engine


def _sources(engine: Engine) -> Iterator[tuple[str, str]]:
    """Yield the names and sources of the templates that may have our tags."""
    names: set[str] = set()
    for directory in dict.fromkeys(map(str, _directories(engine.template_loaders))):
        for folder, _, files in os.walk(directory):
            for path in (Path(folder, file) for file in files):
                name = path.relative_to(directory).as_posix()
                if name in names:
                    continue  # the template of an earlier directory replaces it
                names.add(name)
                try:
                    content = path.read_bytes()
                except OSError:
                    continue
                if _USED.search(content):
                    yield name, content.decode(errors="replace")


def _directories(loaders: Iterable[Any]) -> Iterator[Any]:
    for loader in loaders:
        if hasattr(loader, "get_dirs"):
            yield from loader.get_dirs()
        # The loader that stores compiled templates has others.
        yield from _directories(getattr(loader, "loaders", ()))


def _keys(source: str, engine: Engine) -> Iterator[str]:
    # Other libraries, such as waffle's, have tags of the same names. The last one that is loaded counts.
    loaded: dict[str, Any] = {}
    for library in engine.template_builtins:
        loaded |= _of(library.tags)
    end = ""  # of a comment, or of text that is no template
    for token in _TOKEN.finditer(source):
        tag, words = token["tag"], list(smart_split(token["words"] or ""))
        if end:
            end = "" if " ".join([tag or "", *words]) == end else end
        elif tag == "comment":
            end = "endcomment"
        elif tag == "verbatim":
            end = " ".join(["endverbatim", *words])
        elif tag == "load":
            loaded |= _loaded(words, engine)
        elif loaded.get(tag) in register.tags.values() and words and (match := _LITERAL.fullmatch(words[0])):
            yield match["key"]


def _loaded(words: list[str], engine: Engine) -> dict[str, Any]:
    """Return the tags of ``{% load … %}`` or ``{% load … from … %}``."""
    names, only = (words[-1:], words[:-2]) if words[-2:-1] == ["from"] else (words, None)
    tags: dict[str, Any] = {}
    for name in names:
        library = engine.template_libraries.get(name)
        if library is not None:
            tags |= _of(library.tags)
    return {tag: function for tag, function in tags.items() if only is None or tag in only}


def _of(tags: Mapping[str, Any]) -> dict[str, Any]:
    return {tag: tags[tag] for tag in _TAGS if tag in tags}
