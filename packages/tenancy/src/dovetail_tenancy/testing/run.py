"""The calls of all endpoints as a member of our organization, before and after another one has rows."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import models
from django.test import RequestFactory

from dovetail_tenancy.isolation.scope import tenant
from dovetail_tenancy.organizations.project_models import database_of
from dovetail_tenancy.testing.bodies import body_for, guessed, into_theirs, mixed, plain, serializer_of
from dovetail_tenancy.testing.calls import REFUSED, Answer, Writes, call, signed_in, undone
from dovetail_tenancy.testing.routes import Route
from dovetail_tenancy.testing.rows import Rows, crossings, is_tenant_model, marks, rows_of, seen

_MOST_PATHS, _ENOUGH_PLACES = 2000, 3


@dataclass
class Report:
    """The result of ``assert_isolated``."""

    driven: set[str] = field(default_factory=set)
    leaks: list[str] = field(default_factory=list)
    undriven: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)

    def leak(self, endpoint: str, what: str) -> None:
        line = f"{endpoint}: {what}"
        if line not in self.leaks:
            self.leaks.append(line)

    def __str__(self) -> str:
        lines = [f"{len(self.driven)} endpoints were driven."]
        if self.leaks:
            lines += ["", "Leaks:", *(f"  {leak}" for leak in self.leaks)]
        if self.undriven:
            lines += ["", "Could not be driven, so nothing is known of them:"]
            lines += [f"  {endpoint}: {why}" for endpoint, why in self.undriven.items()]
            lines.append(
                "  Give bodies={'POST documents/': lambda organization: {…}} for what only you can know, or name the "
                "endpoint in skip={'POST documents/': 'why it needs no test'}."
            )
        if self.stale:
            lines += ["", f"In skip= or bodies=, and no endpoint: {', '.join(map(repr, self.stale))}"]
        return "\n".join(lines)


@dataclass(frozen=True)
class Place:
    """The values of a route's arguments, from columns of models, for a path to rows of ours."""

    values: Mapping[str, Any]
    sources: Mapping[str, tuple[type[models.Model], str]]


@dataclass(frozen=True)
class Endpoint:
    route: Route
    method: str

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.route.text}"

    @property
    def form(self) -> bool:
        return not hasattr(self.route.callback, "cls")


class Run:
    own_rows: Rows
    their_rows: Rows
    marks: dict[str, str]

    def __init__(self, *, mine: Any, theirs: Any, user: Any, bodies: Any, skip: Any, client: Any) -> None:
        self.mine, self.theirs, self.user = mine, theirs, user
        self.bodies, self.skip, self.client = bodies, skip, client
        self.using = database_of(mine)
        self.report = Report()
        self._named: set[str] = set()
        self._broken: dict[str, Answer] = {}

    def all(self, routes: list[Route], make: Callable[[Any], Any]) -> Report:
        self.client = self.client or signed_in(self.user)
        make(self.mine)
        self.own_rows = rows_of(self.mine)
        endpoints = [endpoint for endpoint in _endpoints(routes) if not self._skipped(endpoint)]
        places = {route: self._places(route) for route in dict.fromkeys(endpoint.route for endpoint in endpoints)}
        before = self._reads(endpoints, places)
        make(self.theirs)
        self._look_at_theirs()
        self._compare(before, self._reads(endpoints, places))
        for endpoint in endpoints:
            self._drive(endpoint, places[endpoint.route])
        self.report.stale = sorted({*self.skip, *self.bodies} - self._named)
        return self.report

    def _skipped(self, endpoint: Endpoint) -> bool:
        for pattern in self.skip:
            for name in (str(endpoint), endpoint.route.text):
                if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])):
                    self._named.add(pattern)
                    return True
        return False

    # --- with our own rows

    def _places(self, route: Route) -> list[Place]:
        if not route.arguments:
            return [Place({}, {})]
        places: list[Place] = []
        for place in itertools.islice(self._possible(route), _MOST_PATHS):
            if any(self._answers_for_ours(Endpoint(route, method), place) for method in route.methods):
                places.append(place)
                # A number may be a key of several models; one place does not tell which model the path means.
                if len(places) == _ENOUGH_PLACES or not any(isinstance(key, int) for key in place.values.values()):
                    break
        return places

    def _possible(self, route: Route) -> Iterator[Place]:
        columns = [(model, name) for model, by_key in self.own_rows.items() if by_key for name in _naming(model)]
        likely = [sorted(columns, key=lambda column: _unlikely(route, name, column[0])) for name in route.arguments]
        for sources in itertools.product(*likely):
            rows = [list(self.own_rows[model].values())[:2] for model, _ in sources]
            for chosen in itertools.product(*rows):
                values = [row[name] for row, (_, name) in zip(chosen, sources, strict=True)]
                place = Place(
                    dict(zip(route.arguments, map(plain, values), strict=True)),
                    dict(zip(route.arguments, sources, strict=True)),
                )
                if None not in values and route.path(dict(place.values)) is not None:
                    yield place

    def _answers_for_ours(self, endpoint: Endpoint, place: Place) -> bool:
        body = None if endpoint.method == "get" else self._body(endpoint, place, self.mine)
        answer = self._call(endpoint, place.values, body)
        if answer.status >= 500:
            self._broken[str(endpoint)] = answer
        return answer.status not in REFUSED and answer.status < 500

    def _reads(self, endpoints: list[Endpoint], places: Mapping[Route, list[Place]]) -> dict[Any, tuple[Answer, bool]]:
        """Return the answer to each GET, and whether a repeated request gets the same one."""
        answers = {}
        for endpoint in (endpoint for endpoint in endpoints if endpoint.method == "get"):
            for number, place in enumerate(places[endpoint.route]):
                first, second = (self._call(endpoint, place.values) for _ in range(2))
                answers[endpoint, number] = first, first == second
        return answers

    # --- once they have rows

    def _look_at_theirs(self) -> None:
        self.their_rows = rows_of(self.theirs)
        ours = marks(self.own_rows)
        self.marks = {text: row for text, row in marks(self.their_rows).items() if text not in ours}
        marked_rows = " ".join(self.marks[text] for text in marks(self.their_rows, keys=False) if text in self.marks)
        for model, by_key in self.their_rows.items():
            if is_tenant_model(model) and by_key and _has_texts(model) and f"{model._meta.label} " not in marked_rows:
                self.report.undriven[model._meta.label] = "make= gives both organizations rows with the same texts"

    def _compare(self, before: dict[Any, tuple[Answer, bool]], after: dict[Any, tuple[Answer, bool]]) -> None:
        for key, (answer, stable) in after.items():
            endpoint, _ = key
            self._tell_marks(str(endpoint), "shows", answer, "")
            earlier, was_stable = before[key]
            if stable and was_stable and answer != earlier and not self._shown(answer, ""):
                self.report.leak(str(endpoint), "answers differently since another organization has rows")

    def _drive(self, endpoint: Endpoint, places: list[Place]) -> None:
        if not places:
            broken = self._broken.get(str(endpoint))
            self._undriven(endpoint, f"answers {broken}" if broken else "refuses every row of ours in its path")
        for place in places:
            if endpoint.method == "get":
                answer = self._call(endpoint, place.values)
                self._note(endpoint, answer, "")
            else:
                self._write(endpoint, place)
            self._strangers(endpoint, place)

    def _write(self, endpoint: Endpoint, place: Place) -> None:
        ours, theirs = (self._body(endpoint, place, organization) for organization in (self.mine, self.theirs))
        self._note(endpoint, self._call(endpoint, place.values, ours), json.dumps(ours, default=str))
        variants = list(mixed(ours, theirs))
        if isinstance(ours, dict):
            variants.append(("organization", into_theirs(ours, self.theirs)))
        for where, body in variants:
            self._judged(endpoint, f"by {where!r} in its body", place.values, body)

    def _strangers(self, endpoint: Endpoint, place: Place) -> None:
        body = None if endpoint.method == "get" else self._body(endpoint, place, self.mine)
        for names in _subsets(endpoint.route.arguments):
            theirs = {name: self._theirs(*place.sources[name]) for name in names}
            if None in theirs.values():
                continue
            values = {**place.values, **theirs}
            if endpoint.route.path(values) is None:
                continue
            what = f"with {', '.join(names)} of theirs in its path"
            answer = self._judged(endpoint, what, values, body)
            nobodys = {**place.values, **{name: _nobodys(value) for name, value in theirs.items()}}
            if answer.succeeded and not self._call(endpoint, nobodys, body).succeeded:
                self.report.leak(str(endpoint), f"{what} answers {answer.status}, and refuses a key of nobody's")

    def _theirs(self, model: type[models.Model], column: str) -> Any:
        row = next(iter(self.their_rows.get(model, {}).values()), None)
        return None if row is None else plain(row[column])

    # --- one request

    def _call(self, endpoint: Endpoint, values: Mapping[str, Any], body: Any = None) -> Answer:
        path = endpoint.route.path(dict(values))
        if path is None:
            return Answer(404, "")
        with undone(self.using):
            return call(self.client, endpoint.method, path, body, form=endpoint.form)

    def _judged(self, endpoint: Endpoint, what: str, values: Mapping[str, Any], body: Any) -> Answer:
        """Send a request with a key of theirs and report what it changed and shows."""
        path = endpoint.route.path(dict(values)) or "/"
        with undone(self.using):
            with Writes(self.using) as writes:
                answer = call(self.client, endpoint.method, path, body, form=endpoint.form)
            # Most requests are refused; reading all rows after each took three quarters of the time.
            for change in self._changes() if writes.any else ():
                self.report.leak(str(endpoint), f"{what} {change}")
        self._tell_marks(str(endpoint), f"{what} shows", answer, f"{path} {json.dumps(body, default=str)}")
        return answer

    def _changes(self) -> Iterator[str]:
        now = rows_of(self.theirs)
        for model, before in self.their_rows.items():
            if now[model] != before:
                verb = {-1: "removes", 0: "changes", 1: "adds"}[_sign(len(now[model]) - len(before))]
                yield f"{verb} a {model._meta.label} of theirs"
        yield from (f"is taken: {crossing}" for crossing in crossings(rows_of(self.mine), now, self.using))

    def _tell_marks(self, endpoint: str, what: str, answer: Answer, sent: str) -> None:
        for row in self._shown(answer, sent)[:3]:
            self.report.leak(endpoint, f"{what} {row}")

    def _shown(self, answer: Answer, sent: str) -> list[str]:
        return [row for text, row in self.marks.items() if seen(text, answer.body) and not seen(text, sent)]

    def _body(self, endpoint: Endpoint, place: Place, organization: Any) -> Any:
        names = (str(endpoint), endpoint.route.text)
        body = next((self.bodies[name] for name in names if name in self.bodies), None)
        if body is not None:
            self._named |= set(names)
            return body(organization)
        rows = self.own_rows if organization == self.mine else self.their_rows
        request = RequestFactory().generic(endpoint.method.upper(), "/")
        request.user = self.user
        with tenant(self.mine):
            serializer = serializer_of(endpoint.route, endpoint.method, request, dict(place.values))
            return guessed(rows) if serializer is None else body_for(serializer, rows)

    def _note(self, endpoint: Endpoint, answer: Answer, sent: str) -> None:
        if answer.succeeded:
            self.report.driven.add(str(endpoint))
            self.report.undriven.pop(str(endpoint), None)
        elif answer.status != 405 or endpoint.route.declares_methods:
            self._undriven(endpoint, f"answers {answer}" + (f" to {sent[:200]}" if sent else ""))

    def _undriven(self, endpoint: Endpoint, why: str) -> None:
        if str(endpoint) not in self.report.driven:
            self.report.undriven.setdefault(str(endpoint), why)


def _endpoints(routes: list[Route]) -> list[Endpoint]:
    return [Endpoint(route, method) for route in routes for method in route.methods]


def _unlikely(route: Route, argument: str, model: type[models.Model]) -> int:
    view: Any = route.view_class
    shown = getattr(getattr(view, "queryset", None), "model", None) or getattr(view, "model", None)
    by_name = (model._meta.model_name or "") in argument.lower()
    last = argument == route.arguments[-1]
    return 0 if by_name else 1 if model is shown and last else 2


def _naming(model: type[models.Model]) -> list[str]:
    """Return the columns that a path may use to identify a row."""
    unique = [field.attname for field in model._meta.concrete_fields if field.unique and not field.primary_key]
    slugs = [field.attname for field in model._meta.concrete_fields if isinstance(field, models.SlugField)]
    listed = [name for constraint in model._meta.constraints for name in getattr(constraint, "fields", ())]
    texts = {field.name for field in model._meta.concrete_fields if isinstance(field, models.CharField)}
    return list(dict.fromkeys(["pk", *unique, *slugs, *(name for name in listed if name in texts)]))


def _has_texts(model: type[models.Model]) -> bool:
    return any(
        isinstance(field, (models.CharField, models.TextField)) and not field.choices
        for field in model._meta.concrete_fields
    )


def _subsets(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for length in range(len(names), 0, -1):
        yield from itertools.combinations(names, length)


def _nobodys(value: Any) -> Any:
    try:
        uuid.UUID(str(value))
    except ValueError:
        return 2_000_000_001 if str(value).isdecimal() else "nobody-has-this"
    return str(uuid.UUID(int=7))


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
