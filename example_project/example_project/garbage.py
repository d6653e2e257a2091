"""When Python searches for garbage: rarely while the project is loaded, and afterwards only among newer objects."""

from __future__ import annotations

import gc
from typing import Final

#: Objects that are allocated until Python searches for garbage. Python's defaults are 700 and 2000.
_WHILE_LOADING: Final = 50_000
_default: Final = gc.get_threshold()


def collect_rarely() -> None:
    """Call this before the project is loaded.

    Loading allocates a hundred thousand objects that remain. Searching them for garbage again and again took a fifth of
    the time of ``manage.py check``.
    """
    gc.set_threshold(_WHILE_LOADING, *_default[1:])


def freeze() -> None:
    """Call this when the project is loaded: no later search looks at the objects that exist now.

    A search writes to each object that it looks at, so forked processes would copy the memory of their parent. Loading
    leaves less than a hundred objects of garbage, so this does not search for them first, which takes 60 ms.
    """
    gc.freeze()
    gc.set_threshold(*_default)
