"""The filters of the audit log, by the names of the API: ``filter[action]=…``, ``filter[at][gte]=…``."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware

from dovetail_audit.entries.principals import keys_of, target_keys
from dovetail_audit.models import Entry
from dovetail_core.translation import gettext as _

OUTCOMES: Final = tuple(Entry.Outcome.values)

# An entry has its id and its time from two readings of the clock, and another process may correct the clock between.
_SLACK: Final = timedelta(minutes=1)
_MAX_VALUES: Final = 100


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with a parameter, for the client."""

    parameter: str
    code: str
    message: str


class InvalidFilters(ValueError):
    """The query has mistakes. ``mistakes`` holds all of them."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = mistakes
        super().__init__(" ".join(f"{mistake.parameter}: {mistake.message}" for mistake in mistakes))


@dataclass(frozen=True, slots=True)
class Filter:
    """One parameter: the column it compares, its operator, and the values it accepts."""

    column: str
    meaning: str
    max_length: int = 64
    operator: str = "exact"
    choices: tuple[str, ...] = ()
    #: Whether the column holds the key of an object, which entries hash if it is an e-mail address or long.
    is_key: bool = False

    def condition(self, text: str, target_kind: str = "") -> Q:
        """Return the condition for the text of the parameter. Raise ``ValueError`` with a text for the client.

        ``target_kind`` is the model of a target, whose keys may be secrets.
        """
        if self.column == "at":
            return at_condition(self.operator, _moment(text))
        if self.operator == "in":
            values = text.split(",")
            if len(values) > _MAX_VALUES:
                raise ValueError(_("Must have at most %(maximum)d values.") % {"maximum": _MAX_VALUES})
            return Q(**{f"{self.column}__in": [self._value(value) for value in values]})
        value = self._value(text)
        return is_key(self.column, self.keys(value, target_kind)) if self.is_key else Q(**{self.column: value})

    def keys(self, text: str, target_kind: str = "") -> list[str]:
        """Return the keys that entries may hold for the key in the parameter."""
        return target_keys(target_kind, text) if self.column == "target" else keys_of(text)

    def _value(self, text: str) -> str:
        if self.choices and text not in self.choices:
            raise ValueError(_("Must be one of: %(choices)s.") % {"choices": ", ".join(self.choices)})
        if not text or len(text) > self.max_length or not text.isprintable():
            message = _("Must be printable text of 1 to %(maximum)d characters.")
            raise ValueError(message % {"maximum": self.max_length})
        return text


def is_key(column: str, keys: Sequence[str]) -> Q:
    """Return the condition that the column holds one of the keys of ``principals.keys_of``."""
    return Q(**{column: keys[0]}) if len(keys) == 1 else Q(**{f"{column}__in": keys})


FILTERS: Final[Mapping[str, Filter]] = {
    "filter[action]": Filter("action", "has this action", 100),
    "filter[action][in]": Filter("action", "has one of these actions, separated by commas", 100, "in"),
    "filter[actor]": Filter("actor", "was caused by the person or API key with this primary key", 254, is_key=True),
    "filter[target_kind]": Filter("target_kind", "changed an object of this model, such as `shop.Order`", 100),
    "filter[target]": Filter(
        "target", "changed the object with this primary key, of the model `filter[target_kind]`", 254, is_key=True
    ),
    "filter[outcome]": Filter("outcome", "has this outcome", choices=OUTCOMES),
    "filter[outcome][in]": Filter("outcome", "has one of these outcomes", operator="in", choices=OUTCOMES),
    "filter[request_id]": Filter("request_id", "was caused by the request with this id"),
    "filter[at][gte]": Filter("at", "happened at this time (RFC 3339) or later", operator="gte"),
    "filter[at][lt]": Filter("at", "happened before this time (RFC 3339)", operator="lt"),
}
#: For readers of all organizations.
ORGANIZATION_FILTERS: Final[Mapping[str, Filter]] = {
    "filter[organization]": Filter(
        "organization", "belongs to the organization with this primary key", 254, is_key=True
    ),
}


def filtered(
    rows: QuerySet[Entry], parameters: Mapping[str, Sequence[str]], filters: Mapping[str, Filter] = FILTERS
) -> QuerySet[Entry]:
    """Return the rows that match all parameters of ``filters``. Others are ignored, except misspelled ones.

    Raises ``InvalidFilters``.
    """
    mistakes, kind = list(_incomplete(parameters)), _target_kind(parameters)
    for name, values in parameters.items():
        if mistake := _unusable(name, values, filters):
            mistakes.append(mistake)
        elif name in filters:
            try:
                rows = rows.filter(filters[name].condition(values[0], kind))
            except ValueError as error:
                mistakes.append(Mistake(name, "invalid", str(error)))
    if mistakes:
        raise InvalidFilters(mistakes)
    return rows


def recordable(parameters: Mapping[str, Sequence[str]], filters: Mapping[str, Filter] = FILTERS) -> dict[str, str]:
    """Return the filters of the parameters for an entry, with each key as entries hold it: some keys are secrets."""
    kind = _target_kind(parameters)
    values = {name: text[0] for name, text in parameters.items() if name in filters}
    return {name: filters[name].keys(text, kind)[0] if filters[name].is_key else text for name, text in values.items()}


def _target_kind(parameters: Mapping[str, Sequence[str]]) -> str:
    return next(iter(parameters.get("filter[target_kind]", ())), "")


def _unusable(name: str, values: Sequence[str], filters: Mapping[str, Filter]) -> Mistake | None:
    fields = {filter_name[len("filter[") :].partition("]")[0] for filter_name in filters}
    # A misspelled filter must not return everything to somebody who looks for one actor.
    if name not in filters and (name.startswith("filter") or name in fields):
        return Mistake(name, "unknown", _("Unknown filter. Use one of: %(names)s.") % {"names": ", ".join(filters)})
    if name == "sort" and list(values) != ["-id"]:
        return Mistake(name, "unknown", _("The only order is `-id`: newest first."))
    if name in filters and len(values) > 1:
        return Mistake(name, "repeated", _("This parameter must not be repeated."))
    return None


def _incomplete(names: Collection[str]) -> Iterator[Mistake]:
    # Objects of different models have equal keys, and the index begins with the model.
    if "filter[target]" in names and "filter[target_kind]" not in names:
        yield Mistake("filter[target]", "incomplete", _("Name the model of the object in filter[target_kind] too."))


def at_condition(operator: str, moment: datetime) -> Q:
    """Return the condition ``at <operator> moment`` (``gte`` or ``lt``), with an equivalent range of ids.

    The ids are UUIDv7, so their primary key serves the range, and PostgreSQL skips the partitions outside it.
    """
    bound = first_id(moment - _SLACK) if operator == "gte" else first_id(moment + _SLACK)
    return Q(**{f"at__{operator}": moment, f"pk__{operator}": bound})


def first_id(moment: datetime) -> uuid.UUID:
    """Return the smallest UUIDv7 (RFC 9562 5.7) of the millisecond.

    With version and variant: MariaDB stores UUIDs of other versions in another order of bytes.
    """
    milliseconds = max(int(moment.timestamp() * 1000), 0)
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62)


def span(parameters: Mapping[str, Sequence[str]], *, now: datetime) -> timedelta | None:
    """Return the length of the time range of the parameters, to ``now`` if it has no end. None without a start."""
    start, end = (next(iter(parameters.get(f"filter[at][{operator}]", ())), None) for operator in ("gte", "lt"))
    return None if start is None else (now if end is None else _moment(end)) - _moment(start)


def _moment(text: str) -> datetime:
    message = _("Must be a time with a time zone, such as 2026-01-31T12:00:00Z.")
    try:
        moment = parse_datetime(text)
    except ValueError:  # well formed, but not a time, such as February 30
        moment = None
    # The first and last years have times that do not exist in other time zones.
    if moment is None or not is_aware(moment) or not 1970 <= moment.year <= 9998:
        raise ValueError(message)
    return moment.astimezone(UTC)


def described(filters: Mapping[str, Filter]) -> Iterator[dict[str, Any]]:
    """Yield the OpenAPI parameters of the filters."""
    for name, declared in filters.items():
        schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": declared.max_length}
        style: dict[str, Any] = {}
        if declared.column == "at":
            schema = {"type": "string", "format": "date-time"}
        elif declared.choices:
            schema = {"type": "string", "enum": [*declared.choices]}
        if declared.operator == "in":
            schema = {"type": "array", "items": schema, "minItems": 1, "maxItems": _MAX_VALUES}
            style = {"style": "form", "explode": False}
        description = f"Only entries whose event {declared.meaning}."
        yield {
            "name": name,
            "in": "query",
            "required": False,
            "description": description,
            **style,
            "schema": schema,
        }
