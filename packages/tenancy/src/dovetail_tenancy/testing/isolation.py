"""``assert_isolated``, which tests that no endpoint shows or changes another organization's rows."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models
from django.test import RequestFactory
from rest_framework.test import APIClient

from dovetail_tenancy.isolation.fields import TenantModel
from dovetail_tenancy.isolation.scope import tenant
from dovetail_tenancy.organizations.project_models import database_of
from dovetail_tenancy.testing.endpoints import (
    REFUSED,
    Answer,
    Endpoint,
    Route,
    call,
    recorded_writes,
    rolled_back,
    routes,
    signed_in,
)
from dovetail_tenancy.testing.rows import (
    Rows,
    body_for,
    contains,
    crossings,
    guessed_body,
    make_rows,
    marks,
    mixed_bodies,
    plain,
    rows_of,
    serializer_of,
    with_owner,
)

_MOST_PATHS, _ENOUGH_PLACES = 2000, 3
_TEXTS = (models.CharField, models.TextField)
_Answers = dict[tuple[Endpoint, int], tuple[Answer, bool]]


@dataclass
class Report:
    """The result of ``assert_isolated``. Endpoints are named like ``"POST documents/"``."""

    tested: set[str] = field(default_factory=set)
    leaks: list[str] = field(default_factory=list)
    untested: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    noun = "endpoints"
    entries = "skip= or bodies= that match no endpoint"
    advice = (
        "Pass an accepted body, as in bodies={'POST documents/': lambda organization: {…}}, or the reason why the "
        "endpoint needs no test, as in skip={'POST documents/': '…'}."
    )

    def leak(self, endpoint: str, problem: str) -> None:
        line = f"{endpoint}: {problem}"
        if line not in self.leaks:
            self.leaks.append(line)

    def __str__(self) -> str:
        lines = [f"{len(self.tested)} {self.noun} were tested."]
        if self.leaks:
            lines += ["", "Leaks:", *(f"  {leak}" for leak in self.leaks)]
        if self.untested:
            lines += ["", "Not tested:", *(f"  {endpoint}: {reason}" for endpoint, reason in self.untested.items())]
            lines.append(f"  {self.advice}")
        if self.stale:
            lines += ["", f"Entries of {self.entries}: {', '.join(map(repr, self.stale))}"]
        return "\n".join(lines)


def assert_isolated(
    urlconf: str | ModuleType | None = None,
    *,
    mine: models.Model,
    theirs: models.Model,
    user: AbstractBaseUser,
    make: Callable[[Any], object] | None = None,
    bodies: Mapping[str, Callable[[Any], object]] | None = None,
    skip: Mapping[str, str] | None = None,
    client: APIClient | None = None,
) -> Report:
    """Call every endpoint of ``urlconf`` (by default the project's) and fail for each that is not isolated.

    ``user`` is a member of the organization ``mine`` and of no other; ``theirs`` is another organization. ``make``
    creates an organization's rows and is called for both, ``theirs`` last. Without it one row of each tenant model is
    created. The texts of the two organizations' rows must differ, because they identify a row in a response.

    An endpoint leaks if its response changes, or contains a text or key of theirs, once they have rows; if it accepts a
    key of theirs in its path but refuses a key that does not exist; if it changes, adds or removes a row of theirs; or
    if a key in a body makes a row of ours refer to one of theirs. Everything is rolled back.

    An endpoint that refuses every request with the caller's own rows proves nothing and fails too, until ``bodies``
    contains an accepted body (by endpoint such as ``"POST documents/"``, a function of the organization) or ``skip``
    gives a reason (by endpoint, path, or prefix such as ``"admin/*"``). So does an entry that matches nothing.

    Return a report of the tested endpoints. Raise ``AssertionError`` with all failures.
    """
    run = _Run(mine, theirs, user, bodies or {}, skip or {}, client or signed_in(user), database_of(mine))
    with rolled_back(run.using):
        report = run.test(list(routes(urlconf)), make or make_rows)
    if report.leaks or report.untested or report.stale:
        raise AssertionError(str(report))
    return report


@dataclass(frozen=True)
class _Place:
    """Values of a route's arguments for a path to rows of ours, and the columns that they come from."""

    values: Mapping[str, Any]
    sources: Mapping[str, tuple[type[models.Model], str]]


@dataclass
class _Run:
    """The calls of all endpoints as a member of our organization, before and after another one has rows."""

    mine: models.Model
    theirs: models.Model
    user: AbstractBaseUser
    bodies: Mapping[str, Callable[[Any], object]]
    skip: Mapping[str, str]
    client: APIClient
    using: str
    report: Report = field(default_factory=Report)
    our_rows: Rows = field(default_factory=dict)
    their_rows: Rows = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    used_entries: set[str] = field(default_factory=set)
    errors: dict[str, Answer] = field(default_factory=dict)

    def test(self, routes: Iterable[Route], make: Callable[[Any], object]) -> Report:
        make(self.mine)
        self.our_rows = rows_of(self.mine)
        endpoints = [Endpoint(route, method) for route in routes for method in route.methods]
        endpoints = [endpoint for endpoint in endpoints if not self._skipped(endpoint)]
        places = {route: self._places(route) for route in dict.fromkeys(endpoint.route for endpoint in endpoints)}
        before = self._reads(endpoints, places)
        make(self.theirs)
        self._read_their_rows()
        self._compare(before, self._reads(endpoints, places))
        for endpoint in endpoints:
            self._test(endpoint, places[endpoint.route])
        self.report.stale = sorted({*self.skip, *self.bodies} - self.used_entries)
        return self.report

    def _skipped(self, endpoint: Endpoint) -> bool:
        for pattern in self.skip:
            for name in (str(endpoint), endpoint.route.text):
                if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])):
                    self.used_entries.add(pattern)
                    return True
        return False

    def _places(self, route: Route) -> list[_Place]:
        if not route.arguments:
            return [_Place({}, {})]
        places: list[_Place] = []
        for place in itertools.islice(self._possible_places(route), _MOST_PATHS):
            if any(self._accepts(Endpoint(route, method), place) for method in route.methods):
                places.append(place)
                # A number may be a key of several models; one place does not tell which model the path means.
                if len(places) == _ENOUGH_PLACES or not any(isinstance(key, int) for key in place.values.values()):
                    break
        return places

    def _possible_places(self, route: Route) -> Iterator[_Place]:
        columns = [(model, name) for model, by_key in self.our_rows.items() if by_key for name in _key_columns(model)]
        likely = [sorted(columns, key=lambda column: _unlikely(route, name, column[0])) for name in route.arguments]
        for sources in itertools.product(*likely):
            rows = [list(self.our_rows[model].values())[:2] for model, _ in sources]
            for chosen in itertools.product(*rows):
                values = [row[name] for row, (_, name) in zip(chosen, sources, strict=True)]
                place = _Place(
                    dict(zip(route.arguments, map(plain, values), strict=True)),
                    dict(zip(route.arguments, sources, strict=True)),
                )
                if None not in values and route.path(place.values) is not None:
                    yield place

    def _accepts(self, endpoint: Endpoint, place: _Place) -> bool:
        answer = self._call(endpoint, place.values, self._body(endpoint, place, self.mine))
        if answer.status >= 500:
            self.errors[str(endpoint)] = answer
        return answer.status not in REFUSED and answer.status < 500

    def _reads(self, endpoints: list[Endpoint], places: Mapping[Route, list[_Place]]) -> _Answers:
        """Return the answer to each GET, and whether a repeated request gets the same one."""
        answers = {}
        for endpoint in (endpoint for endpoint in endpoints if endpoint.method == "get"):
            for number, place in enumerate(places[endpoint.route]):
                first, second = (self._call(endpoint, place.values) for _ in range(2))
                answers[endpoint, number] = first, first == second
        return answers

    def _read_their_rows(self) -> None:
        self.their_rows = rows_of(self.theirs)
        ours = marks(self.our_rows)
        self.marks = {text: row for text, row in marks(self.their_rows).items() if text not in ours}
        marked_rows = " ".join(self.marks[text] for text in marks(self.their_rows, keys=False) if text in self.marks)
        for model, by_key in self.their_rows.items():
            fields = [field for field in model._meta.concrete_fields if isinstance(field, _TEXTS) and not field.choices]
            unmarked = by_key and f"{model._meta.label} " not in marked_rows
            if unmarked and fields and issubclass(model, TenantModel):
                self.report.untested[model._meta.label] = "make= gives both organizations the same texts"

    def _compare(self, before: _Answers, after: _Answers) -> None:
        for key, (answer, stable) in after.items():
            visible = self._report_marks(key[0], "shows", answer, "")
            earlier, was_stable = before[key]
            if stable and was_stable and answer != earlier and not visible:
                self.report.leak(str(key[0]), "answers differently since another organization has rows")

    def _test(self, endpoint: Endpoint, places: list[_Place]) -> None:
        if not places:
            error = self.errors.get(str(endpoint))
            self._report_untested(endpoint, f"answers {error}" if error else "refuses every row of ours in its path")
        for place in places:
            ours, theirs = (self._body(endpoint, place, organization) for organization in (self.mine, self.theirs))
            answer = self._call(endpoint, place.values, ours)
            self._report_answer(endpoint, answer, "" if ours is None else json.dumps(ours, default=str))
            bodies = list(mixed_bodies(ours, theirs))
            if isinstance(ours, dict):
                bodies.append(("organization", with_owner(ours, self.theirs)))
            for key, body in bodies:
                self._test_request(endpoint, f"by {key!r} in its body", place.values, body)
            self._test_paths(endpoint, place, ours)

    def _test_paths(self, endpoint: Endpoint, place: _Place, body: object) -> None:
        arguments = endpoint.route.arguments
        subsets = (itertools.combinations(arguments, length) for length in range(len(arguments), 0, -1))
        for names in itertools.chain.from_iterable(subsets):
            theirs = {name: self._their_value(*place.sources[name]) for name in names}
            values = {**place.values, **theirs}
            if None in theirs.values() or endpoint.route.path(values) is None:
                continue
            request = f"with {', '.join(names)} of theirs in its path"
            answer = self._test_request(endpoint, request, values, body)
            unused = {**place.values, **{name: _unused_key(value) for name, value in theirs.items()}}
            if answer.succeeded and not self._call(endpoint, unused, body).succeeded:
                self.report.leak(str(endpoint), f"{request} answers {answer.status}, but refuses a key that no row has")

    def _their_value(self, model: type[models.Model], column: str) -> Any:
        row = next(iter(self.their_rows.get(model, {}).values()), None)
        return None if row is None else plain(row[column])

    def _call(self, endpoint: Endpoint, values: Mapping[str, Any], body: object = None) -> Answer:
        path = endpoint.route.path(values)
        if path is None:
            return Answer(404, "")
        with rolled_back(self.using):
            return call(self.client, endpoint.method, path, body, form=endpoint.form)

    def _test_request(self, endpoint: Endpoint, request: str, values: Mapping[str, Any], body: object) -> Answer:
        path = endpoint.route.path(values) or "/"
        with rolled_back(self.using):
            with recorded_writes(self.using) as writes:
                answer = call(self.client, endpoint.method, path, body, form=endpoint.form)
            # Most requests are refused; reading all rows after each took three quarters of the time.
            for change in self._changes() if writes else ():
                self.report.leak(str(endpoint), f"{request} {change}")
        self._report_marks(endpoint, f"{request} shows", answer, f"{path} {json.dumps(body, default=str)}")
        return answer

    def _changes(self) -> Iterator[str]:
        rows = rows_of(self.theirs)
        for model, before in self.their_rows.items():
            if rows[model] != before:
                added = len(rows[model]) - len(before)
                yield f"{'adds' if added > 0 else 'removes' if added else 'changes'} a {model._meta.label} of theirs"
        yield from (f"is accepted: {crossing}" for crossing in crossings(rows_of(self.mine), rows, self.using))

    def _report_marks(self, endpoint: Endpoint, problem: str, answer: Answer, request: str) -> list[str]:
        """Report the texts of their rows that the answer shows and the request does not contain, and return them."""
        texts = [text for text in self.marks if contains(answer.body, text) and not contains(request, text)]
        for text in texts[:3]:
            self.report.leak(str(endpoint), f"{problem} {self.marks[text]}")
        return texts

    def _body(self, endpoint: Endpoint, place: _Place, organization: models.Model) -> Any:
        if endpoint.method == "get":
            return None
        names = (str(endpoint), endpoint.route.text)
        body = next((self.bodies[name] for name in names if name in self.bodies), None)
        if body is not None:
            self.used_entries |= set(names)
            return body(organization)
        rows = self.our_rows if organization == self.mine else self.their_rows
        request = RequestFactory().generic(endpoint.method.upper(), "/")
        request.user = self.user  # type: ignore[assignment]  # any user model
        with tenant(self.mine):
            serializer = serializer_of(endpoint.route, endpoint.method, request, place.values)
            return guessed_body(rows) if serializer is None else body_for(serializer, rows)

    def _report_answer(self, endpoint: Endpoint, answer: Answer, request: str) -> None:
        if answer.succeeded:
            self.report.tested.add(str(endpoint))
            self.report.untested.pop(str(endpoint), None)
        elif answer.status != 405 or endpoint.route.view_class is not None:  # a function does not declare its methods
            self._report_untested(endpoint, f"answers {answer}" + (f" to {request[:200]}" if request else ""))

    def _report_untested(self, endpoint: Endpoint, reason: str) -> None:
        if str(endpoint) not in self.report.tested:
            self.report.untested.setdefault(str(endpoint), reason)


def _unlikely(route: Route, argument: str, model: type[models.Model]) -> int:
    view = route.view_class
    viewed = getattr(getattr(view, "queryset", None), "model", None) or getattr(view, "model", None)
    by_name = (model._meta.model_name or "") in argument.lower()
    last = argument == route.arguments[-1]
    return 0 if by_name else 1 if model is viewed and last else 2


def _key_columns(model: type[models.Model]) -> list[str]:
    fields = model._meta.concrete_fields
    unique = [field.attname for field in fields if field.unique and not field.primary_key]
    slugs = [field.attname for field in fields if isinstance(field, models.SlugField)]
    constrained = {name for constraint in model._meta.constraints for name in getattr(constraint, "fields", ())}
    texts = [field.name for field in fields if isinstance(field, models.CharField) and field.name in constrained]
    return list(dict.fromkeys(["pk", *unique, *slugs, *texts]))


def _unused_key(value: object) -> object:
    try:
        uuid.UUID(str(value))
    except ValueError:
        return 2_000_000_001 if str(value).isdecimal() else "nobody-has-this"
    return str(uuid.UUID(int=7))
