"""Changes in Django's admin site. Import this module from ``admin.py`` only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.db import router, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from dovetail_audit.conf import conf
from dovetail_audit.entries.building import build
from dovetail_audit.entries.diffs import split, tracked_fields
from dovetail_audit.entries.patterns import is_secret
from dovetail_audit.entries.principals import target_key
from dovetail_audit.entries.redaction import CHANGED, PERSONAL
from dovetail_audit.entries.writing import write
from dovetail_core.redaction import REDACTED

_ACTIONS: Final = {
    ADDITION: "admin_site.created",
    CHANGE: "admin_site.updated",
    DELETION: "admin_site.deleted",
}
#: A word that is a random string, in str() of an object of an unknown model.
_TOKEN: Final = re.compile(r"\b(?=[a-zA-Z_]*\d)(?=\d*[a-zA-Z_])\w{20,}")
_CHANGES: Final = "_dovetail_audit_changes"
_is_recorded: ContextVar[bool] = ContextVar("dovetail_audit_is_recorded", default=False)


class AuditModelAdmin(ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Records additions, changes with their values, deletions and actions of the admin site, each object by its own.

    Inherit from it first. For other model admins, entries are made of Django's ``LogEntry``: without values, and not
    for "delete selected" of several objects, because Django writes these without signals.
    """

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        if conf.ADMIN_SITE:
            vars(request)[_CHANGES] = _changes_of(form, self.model, add=add)
        return super().construct_change_message(request, form, formsets, add)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        with _recorded():
            log_entry = super().log_addition(request, obj, message)
        self._record(ADDITION, request, [obj], message)
        return log_entry

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        with _recorded():
            log_entry = super().log_change(request, obj, message)
        self._record(CHANGE, request, [obj], message)
        return log_entry

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        with _recorded():
            log_entries = super().log_deletions(request, queryset)
        self._record(DELETION, request, queryset, "")
        return log_entries

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any) -> Any:
        name = request.POST.get("action", "")
        # Only here: it would make attempt() and durable transactions of other actions fail.
        if name == "delete_selected":
            # Its entries are written before it deletes, which may fail.
            with transaction.atomic(using=router.db_for_write(self.model)):
                return super().response_action(request, queryset, *args, **kwargs)
        response = super().response_action(request, queryset, *args, **kwargs)
        if conf.ADMIN_SITE and response is not None:
            self._record_action(request, name)
        return response

    def _record_action(self, request: HttpRequest, name: str) -> None:
        keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
        parameters = {
            "action": name,
            "selected": len(keys),
            "all": request.POST.get("select_across") == "1",
            "ids": [target_key(self.model, key) for key in keys],
        }
        entry = build(
            "admin_site.action_run", target=(self.model._meta.label, ""), parameters=parameters, request=request
        )
        write([entry], using=router.db_for_write(self.model))

    def _record(self, flag: int, request: HttpRequest, objects: Iterable[Model], message: Any) -> None:
        if not conf.ADMIN_SITE:
            return
        changes, personal = split(vars(request).pop(_CHANGES, {}), tracked_fields(self.model, "personal"))
        extra, names = _split_message(message)
        entries = [
            build(
                _ACTIONS[flag],
                target=target,
                changes=changes,
                extra=extra,
                personal={**personal, **names},
                request=request,
            )
            for target in objects
        ]
        if entries:
            write(entries, using=router.db_for_write(self.model))


def on_log_entry(instance: LogEntry, created: bool, raw: bool = False, using: str | None = None, **kwargs: Any) -> None:
    """Record Django's own log entry of a model admin without :class:`AuditModelAdmin`."""
    if raw or not created or not conf.ADMIN_SITE or _is_recorded.get() or instance.action_flag not in _ACTIONS:
        return
    content_type = instance.content_type
    model = content_type.model_class() if content_type else None
    kind = model._meta.label if model else ""
    key = target_key(model, instance.object_id) if model else instance.object_id
    extra, personal = _split_message(instance.change_message)
    if model is None or not _has_secret(model):
        personal["object"] = _without_tokens(instance.object_repr)
    entry = build(_ACTIONS[instance.action_flag], target=(kind, key), extra=extra, personal=personal)
    write([entry], using=using)


@contextmanager
def _recorded() -> Iterator[None]:
    previous = _is_recorded.get()
    _is_recorded.set(True)
    try:
        yield
    finally:
        _is_recorded.set(previous)


def _changes_of(form: Any, model: type[Model], *, add: bool) -> dict[str, Any]:
    cleaned, secret = getattr(form, "cleaned_data", {}), tracked_fields(model, "secret")
    pairs = {
        name: [None if add else form.get_initial_for_field(form.fields[name], name), _value(cleaned.get(name))]
        for name in form.changed_data
        if name in form.fields
    }
    return {name: CHANGED if name in secret else pair for name, pair in pairs.items()}


def _value(value: Any) -> Any:
    # The primary key, as in the initial data.
    if isinstance(value, Model):
        return value.pk
    return [row.pk for row in value] if isinstance(value, QuerySet) else value


def _split_message(message: Any) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return a change message without names of objects, and the names by path.

    A message is the list that Django makes, its JSON, or a text of the project, which may contain names too.
    """
    if not message:
        return None, {}
    parts = _parsed(message) if isinstance(message, str) else message
    if not isinstance(parts, list):
        return {"message": PERSONAL}, {"extra.message": _without_tokens(str(message))}
    names: dict[str, Any] = {}
    public = [_without_name(part, f"extra.message.{index}", names) for index, part in enumerate(parts)]
    return {"message": public}, names


def _parsed(message: str) -> Any:
    try:
        return json.loads(message)
    except ValueError:
        return message


def _without_name(part: Any, path: str, names: dict[str, Any]) -> Any:
    if not isinstance(part, Mapping):
        names[path] = _without_tokens(str(part))
        return PERSONAL
    public: dict[str, Any] = {}
    for verb, details in part.items():
        public[verb] = details
        # str() of an object of an inline.
        if isinstance(details, Mapping) and "object" in details:
            names[f"{path}.{verb}.object"] = _without_tokens(str(details["object"]))
            public[verb] = {**details, "object": PERSONAL}
    return public


def _has_secret(model: type[Model]) -> bool:
    """Return whether str() of an object may be its secret, as that of REST framework's tokens is."""
    if hasattr(model, "USERNAME_FIELD"):
        return False  # str() of a user is the username.
    return bool(tracked_fields(model, "secret")) or any(is_secret(field.name) for field in model._meta.concrete_fields)


def _without_tokens(text: str) -> str:
    return _TOKEN.sub(REDACTED, text)
