"""``assert_isolated``, which tests that no endpoint shows or changes another organization's rows."""

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
    """Call every endpoint of ``urlconf`` (by default the project's) and fail for each that is not isolated.

    ``user`` is a member of the organization ``mine`` and of no other; ``theirs`` is another organization. ``make``
    creates an organization's rows and is called for both, ``theirs`` last. Without it one row of each tenant model is
    created. The texts of the two organizations' rows must differ, because they identify a row in a response.

    An endpoint leaks if its response changes, or contains a text or key of theirs, once they have rows; if it accepts a
    key of theirs in its path but refuses a key that does not exist; if it changes, adds or removes a row of theirs; or
    if a key in a body makes a row of ours refer to one of theirs. Everything is rolled back.

    An endpoint that no request with the caller's own rows could use proves nothing and fails too, until ``bodies``
    contains an accepted body (by endpoint such as ``"POST documents/"``, a function of the organization) or ``skip``
    gives a reason (by endpoint, path, or prefix of paths such as ``"admin/*"``). An entry that matches nothing fails as
    well.

    Returns a report of the tested endpoints. Raises ``AssertionError`` with all failures.
    """
    run = Run(mine=mine, theirs=theirs, user=user, bodies=bodies or {}, skip=skip or {}, client=client)
    with undone(run.using):
        report = run.all(list(routes(urlconf)), make or make_rows)
    if report.leaks or report.undriven or report.stale:
        raise AssertionError(str(report))
    return report
