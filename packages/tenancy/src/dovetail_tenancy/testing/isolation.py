"""``assert_isolated``: whether any endpoint of a project shows or changes another organization's rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dovetail_tenancy.testing.calls import undone
from dovetail_tenancy.testing.routes import routes
from dovetail_tenancy.testing.run import Report, Run
from dovetail_tenancy.testing.samples import make_rows


def assert_isolated(
    urlconf: Any = None,
    *,
    mine: Any,
    theirs: Any,
    user: Any,
    make: Callable[[Any], Any] | None = None,
    bodies: Mapping[str, Callable[[Any], Any]] | None = None,
    skip: Mapping[str, str] | None = None,
    client: Any = None,
) -> Report:
    """Call every endpoint of ``urlconf`` (the project's own by default) and fail for each that is not isolated.

    ``user`` is a member of the organization ``mine`` and of no other; ``theirs`` is another organization. ``make``
    makes an organization's rows and is called for both, ``theirs`` last; without it one row of each tenant model is
    made. In every model the texts of the two must differ, because by them a row is known in an answer.

    An endpoint leaks if its answer changes, or tells a text or key of theirs, once they have rows; if it takes a key
    of theirs in its path where it refuses one that does not exist; if it changes, adds or removes a row of theirs; or
    if by what a body names a row of ours comes to refer to one of theirs. Everything is rolled back.

    What could not be driven with the caller's own rows proves nothing, and fails too until ``bodies`` gives a body
    that is accepted (by endpoint: ``"POST documents/"``, a function of the organization) or ``skip`` says why it needs
    none (by endpoint, by path, or by the beginning of paths: ``"admin/*"``). An entry that fits nothing fails as well.

    Returns what was driven. Raises ``AssertionError`` with everything that was found.
    """
    run = Run(mine=mine, theirs=theirs, user=user, bodies=bodies or {}, skip=skip or {}, client=client)
    with undone(run.using):
        report = run.all(list(routes(urlconf)), make or make_rows)
    if report.leaks or report.undriven or report.stale:
        raise AssertionError(str(report))
    return report
