"""Flags that the code declares, with their types and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from dovetail_flags.types.kinds import KEY_GRAMMAR, is_key, value_problem

_KINDS: Final[Mapping[type, str]] = {bool: "boolean", str: "string", int: "integer", float: "number", dict: "object"}


@dataclass(frozen=True, slots=True)
class Declared:
    """A flag that the code uses: ``Declared(bool, default=False)``.

    ``type`` is ``bool``, ``str``, ``int``, ``float`` or ``dict``. ``default`` is the value while the flag is missing or
    cannot be read. ``client_visible`` and ``description`` are those of the flag that ``manage.py flags sync`` creates.
    """

    type: type
    default: Any
    client_visible: bool = False
    description: str = ""

    @property
    def kind(self) -> str:
        """The type of the flag: ``boolean``, ``string``, ``integer``, ``number`` or ``object``."""
        return _KINDS[self.type]


_declared: dict[str, Declared] = {}
#: The flags of :func:`declare`, without those of ``FLAGS_DECLARED``.
DECLARATIONS: Final = MappingProxyType(_declared)


def declare(
    key: str,
    type: type,  # noqa: A002  # as in Declared
    *,
    default: Any,
    client_visible: bool = False,
    description: str = "",
) -> str:
    """Declare a flag and return its key. Call it in the module ``flags`` of an app, which is imported at the start.

    Raises ``ValueError`` if the key, type or default is invalid, or if another declaration of the key differs.
    """
    declared = Declared(type, default, client_visible, description)
    if problem := declaration_problem(key, declared):
        raise ValueError(problem)
    if _declared.setdefault(key, declared) != declared:
        raise ValueError(f"The flag {key!r} is declared twice: {_declared[key]} and {declared}.")
    return key


def declaration_problem(key: object, declared: Declared) -> str | None:
    """Return an error text, or None if the declaration is valid."""
    if not is_key(key):
        return f"the key {key!r} {KEY_GRAMMAR}"
    kind: object = declared.type  # of the project's settings, which mypy may not check
    if not isinstance(kind, type) or kind not in _KINDS:
        return f"the type of {key!r} must be bool, str, int, float or dict; {declared.type!r} is not"
    if problem := value_problem(declared.default, declared.kind):
        return f"the default of {key!r} {problem}"
    return None
