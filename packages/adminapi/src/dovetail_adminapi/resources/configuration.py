"""``ADMINAPI_RESOURCES``: the models that administrators read, and the actions that they call on rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db.models import Model

from dovetail_adminapi.conf import conf, imported
from dovetail_core.conf import cached_until_settings_change
from dovetail_core.redaction import is_secret_name

#: What an action may take besides the row.
OFFERED: Final = ("actor", "reason", "request")
_RESOURCE_MEMBERS: Final = {"model", "fields", "search", "filters", "actions", "lists", "singular", "permission"}
_ACTION_MEMBERS: Final = {"call", "permission", "reauthenticate", "reason", "serializer", "refusals", "own", "label"}
_LIST_MEMBERS: Final = {"model", "lookup", "fields", "permission"}
_APP: Final = "dovetail_adminapi"


@dataclass(frozen=True, slots=True)
class Action:
    """A service that administrators call. ``own``: also on their own account."""

    name: str
    call: Callable[..., Any]
    permission: str
    reauthenticate: bool = False
    reason: bool = False
    serializer: Any = None
    refusals: tuple[tuple[type[Exception], int], ...] = ()
    own: bool = False

    def arguments(self, row: Model, offered: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of the call: the row, and what the signature accepts of the others."""
        parameters = inspect.signature(self.call).parameters
        takes_all = any(item.kind is item.VAR_KEYWORD for item in parameters.values())
        keywords = {name: value for name, value in offered.items() if takes_all or name in parameters}
        subject = row_parameter(self.call)
        if subject is None or subject.kind is not subject.KEYWORD_ONLY:
            return [row], keywords
        return [], {**keywords, subject.name: row}


@dataclass(frozen=True, slots=True)
class RelatedList:
    """The rows of another model that belong to a row, such as the members of an organization."""

    name: str
    model: type[Model]
    lookup: str
    fields: tuple[str, ...]
    permission: str


@dataclass(frozen=True, slots=True)
class Resource:
    name: str
    singular: str
    model: type[Model]
    fields: tuple[str, ...]
    permission: str
    search: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    lists: tuple[RelatedList, ...] = ()

    def permissions(self) -> dict[str, str]:
        """Return the permissions of this app that the resource requires, and their labels."""
        labels = {self.permission: f"Can read {self.name}"}
        labels |= {action.permission: f"Can {action.name.replace('-', ' ')} ({self.name})" for action in self.actions}
        labels |= {item.permission: f"Can read {self.name}" for item in self.lists if item.permission not in labels}
        return {name: label for name, label in labels.items() if name.startswith(f"{_APP}.")}


def row_parameter(call: Callable[..., Any]) -> inspect.Parameter | None:
    """Return the parameter that takes the row: the first, or the only required one that is not offered by name."""
    parameters = list(inspect.signature(call).parameters.values())
    first = next((item for item in parameters if item.kind in {item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD}), None)
    if first is not None:
        return first
    required = [item for item in parameters if item.kind is item.KEYWORD_ONLY and item.default is item.empty]
    rest = [item for item in required if item.name not in OFFERED]
    return rest[0] if len(rest) == 1 else None


@cached_until_settings_change
def resources() -> tuple[Resource, ...]:
    """Return the declared resources. One with a mistake, which :func:`problems` returns, has no routes."""
    return _read()[0]


def problems() -> list[str]:
    """Return the mistakes in ``ADMINAPI_RESOURCES``, one for each resource."""
    return _read()[1]


def _read() -> tuple[tuple[Resource, ...], list[str]]:
    valid, messages = [], []
    for name, declared in _declared().items():
        try:
            valid.append(_resource(name, declared))
        except (ImproperlyConfigured, ImportError, LookupError, TypeError, ValueError) as error:
            messages.append(f"ADMINAPI_RESOURCES[{name!r}]: {error}")
    return tuple(valid), messages


def secret_fields() -> list[tuple[str, str]]:
    """Return the resources and fields whose names are those of secrets. Lists show them to nobody."""
    pairs = []
    for name, declared in _declared().items():
        lists = _mapping(_mapping(declared).get("lists"))
        for source in (declared, *lists.values()):
            fields = _mapping(source).get("fields")
            listed = fields if isinstance(fields, list | tuple) else ()
            pairs += [(name, field) for field in listed if is_secret_name(str(field))]
    return pairs


def _declared() -> Mapping[str, Mapping[str, Any]]:
    # E001 reports a setting of another type.
    return {"users": {}} if conf.RESOURCES is None else _mapping(conf.RESOURCES)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _resource(name: str, declared: Mapping[str, Any]) -> Resource:
    _require_members(declared, _RESOURCE_MEMBERS)
    is_users = name == "users"
    if "model" not in declared and not is_users:
        raise ImproperlyConfigured("'model' is missing. Name a model, such as 'shop.Order'.")
    model = apps.get_model(declared["model"]) if "model" in declared else get_user_model()
    singular = str(declared.get("singular") or model._meta.model_name)
    view = str(declared.get("permission") or f"{_APP}.view_{singular}")
    actions = declared.get("actions", _user_actions(model) if is_users else {})
    fields = _fields(model, declared.get("fields") or _user_fields(model) if is_users else declared.get("fields"))
    return Resource(
        name=name,
        singular=singular,
        model=model,
        fields=fields,
        permission=view,
        search=_names(model, declared.get("search", _search_fields(model) if is_users else ())),
        filters=_names(model, declared.get("filters", _flags(model) if is_users else ())),
        actions=tuple(_action(singular, key, value) for key, value in actions.items()),
        lists=tuple(_list(view, key, value) for key, value in (declared.get("lists") or {}).items()),
    )


def _require_members(declared: Mapping[str, Any], allowed: set[str]) -> None:
    if not isinstance(declared, Mapping):
        raise ImproperlyConfigured(f"{declared!r} is not a dict with some of {', '.join(sorted(allowed))}.")
    if unknown := declared.keys() - allowed:
        raise ImproperlyConfigured(
            f"{', '.join(sorted(map(str, unknown)))} is unknown. Allowed are {', '.join(sorted(allowed))}."
        )


def _fields(model: type[Model], names: Sequence[str] | None) -> tuple[str, ...]:
    if not names:
        raise ImproperlyConfigured("'fields' is missing. List the fields that administrators may read.")
    # A secret is not shown even if it is listed (E010).
    return tuple(name for name in _names(model, names) if not is_secret_name(name))


def _names(model: type[Model], names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ImproperlyConfigured(f"{names!r} must be a list of names of fields.")
    for name in names:
        try:
            field = model._meta.get_field("pk" if name == "pk" else name) if name != "pk" else model._meta.pk
        except FieldDoesNotExist as error:
            known = ", ".join(item.name for item in model._meta.concrete_fields)
            raise ImproperlyConfigured(f"{model._meta.label} has no field {name!r}. It has {known}.") from error
        if not getattr(field, "concrete", False) or getattr(field, "many_to_many", False):
            raise ImproperlyConfigured(f"{name!r} of {model._meta.label} is a relation and not a column.")
    return tuple(dict.fromkeys(names))


def _action(singular: str, name: str, declared: Mapping[str, Any]) -> Action:
    _require_members(declared, _ACTION_MEMBERS)
    if not name.replace("-", "_").isidentifier():
        raise ImproperlyConfigured(f"The action {name!r} must consist of letters, digits and hyphens.")
    call = imported(declared.get("call"))
    if not callable(call):
        raise ImproperlyConfigured(f"'call' of the action {name!r} is {call!r}. Name a function.")
    if row_parameter(call) is None:
        raise ImproperlyConfigured(f"The function of the action {name!r} has no parameter for the row.")
    refusals = [(imported(path), int(status)) for path, status in (declared.get("refusals") or {}).items()]
    return Action(
        name=name,
        call=call,
        permission=str(declared.get("permission") or f"{_APP}.{name.replace('-', '_')}_{singular}"),
        reauthenticate=declared.get("reauthenticate") is True,
        reason=declared.get("reason") is True,
        serializer=imported(declared.get("serializer")),
        refusals=tuple(refusals),
        own=declared.get("own") is True,
    )


def _list(view: str, name: str, declared: Mapping[str, Any]) -> RelatedList:
    _require_members(declared, _LIST_MEMBERS)
    model = apps.get_model(declared["model"])
    (lookup,) = _names(model, [declared["lookup"]])
    permission = str(declared.get("permission") or view)
    return RelatedList(name, model, lookup, _fields(model, declared.get("fields")), permission)


def _user_fields(model: type[Model]) -> tuple[str, ...]:
    names = (
        _pk_name(model),
        getattr(model, "USERNAME_FIELD", ""),
        getattr(model, "EMAIL_FIELD", ""),
        "is_active",
        "is_staff",
        "last_login",
        "date_joined",
    )
    return _existing(model, names)


def _search_fields(model: type[Model]) -> tuple[str, ...]:
    return _existing(model, (getattr(model, "USERNAME_FIELD", ""), getattr(model, "EMAIL_FIELD", "")))


def _flags(model: type[Model]) -> tuple[str, ...]:
    return _existing(model, ("is_active", "is_staff"))


def _user_actions(model: type[Model]) -> dict[str, dict[str, Any]]:
    if not _existing(model, ("is_active",)):
        return {}
    services = "dovetail_adminapi.resources.services"
    return {
        "deactivate": {"call": f"{services}.deactivate_user", "reauthenticate": True},
        "activate": {"call": f"{services}.activate_user", "reauthenticate": True},
    }


def _existing(model: type[Model], names: Sequence[str]) -> tuple[str, ...]:
    columns = {field.name for field in model._meta.concrete_fields}
    return tuple(dict.fromkeys(name for name in names if name in columns))


def _pk_name(model: type[Model]) -> str:
    pk = model._meta.pk
    return str(pk.name)
