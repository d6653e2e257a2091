"""``@recorded_command``: an entry for each run of a management command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar

from dovetail_audit.entries import units
from dovetail_audit.entries.building import build, outcome_of
from dovetail_audit.entries.writing import write

T = TypeVar("T")

#: Options of every command.
_COMMON: Final = frozenset(
    ["force_color", "no_color", "pythonpath", "settings", "skip_checks", "stderr", "stdout", "traceback", "verbosity"]
)


def recorded_command(handle: Callable[..., T]) -> Callable[..., T]:
    """Decorate ``BaseCommand.handle`` to record each run after its end, with its options and outcome.

    The action is ``command.<name>``. Entries that are written during the run have the origin ``command``.
    """

    @functools.wraps(handle)
    def run(self: Any, *args: Any, **options: Any) -> T:
        name = type(self).__module__.rpartition(".")[2]
        parameters = {key: value for key, value in options.items() if key not in _COMMON and value is not None}
        with units.enter(units.Unit(origin="command")):
            error: BaseException | None = None
            try:
                return handle(self, *args, **options)
            except BaseException as raised:
                error = raised
                raise
            finally:
                outcome = outcome_of(error)
                problem = "" if outcome == "success" else type(error).__name__
                entry = build(f"command.{name}", outcome=outcome, parameters=parameters, problem=problem)
                write([entry], using=None)

    return run
