"""``@track``: an entry for each save and deletion of a model."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from django.db import router, transaction
from django.db.models import Field, Model
from django.db.models.signals import ModelSignal, class_prepared, post_delete, post_save

from dovetail_audit.entries.building import build
from dovetail_audit.entries.diffs import TRACKING, diff, split, tracked_fields
from dovetail_audit.entries.loaded import loaded_values, set_loaded_values, set_saved_values
from dovetail_audit.entries.writing import write

M = TypeVar("M", bound=type[Model])

_CREATED: Final = "_dovetail_audit_created"
_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Tracking:
    name: str
    fields: frozenset[str] | None
    exclude: frozenset[str]
    personal: frozenset[str]
    secret: frozenset[str]

    def values(self, instance: Model) -> dict[str, Any]:
        """Return the loaded values of the tracked fields. Lists and dicts are copied, because they can be mutated."""
        loaded = vars(instance)
        return {
            name: copy.deepcopy(loaded[name]) if isinstance(loaded[name], dict | list) else loaded[name]
            for name in self._names(instance)
            if name in loaded
        }

    def _names(self, instance: Model) -> list[str]:
        return [field.attname for field in instance._meta.concrete_fields if self._is_tracked(field)]

    def _is_tracked(self, field: Field[Any, Any]) -> bool:
        names = {field.name, field.attname}
        return (self.fields is None or not names.isdisjoint(self.fields)) and names.isdisjoint(self.exclude)


def track(
    *,
    name: str = "",
    fields: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    personal: Iterable[str] = (),
    secret: Iterable[str] = (),
) -> Callable[[M], M]:
    """Decorate a model to record each ``save()`` that changes a row, and each deletion.

    The actions are ``<name>.created``, ``<name>.updated`` and ``<name>.deleted``; ``name`` defaults to the name of the
    model in snake case. The values before the change are those with which the instance was loaded, so no query is
    made. An entry is in the transaction of its change. ``personal`` fields can be erased; of ``secret`` fields only the
    fact of a change is recorded. In a transaction, a save adds a callback to ``transaction.on_commit()``.

    ``update()``, ``bulk_create()``, ``bulk_update()``, many-to-many relations and SQL are not recorded.
    """

    def decorate(model: M) -> M:
        tracking = Tracking(
            name or _CAPITAL.sub("_", model.__name__).lower(),
            None if fields is None else frozenset(fields),
            frozenset(exclude),
            frozenset(personal),
            frozenset(secret),
        )
        _validate(model, tracking)
        setattr(model, TRACKING, tracking)
        _observe_loading(model, tracking)
        _observe_saving(model, tracking)
        _observe_deletion(model, tracking)
        return model

    return decorate


def _validate(model: type[Model], tracking: Tracking) -> None:
    known = {name for field in model._meta.concrete_fields for name in (field.name, field.attname)}
    named = (tracking.fields or frozenset()) | tracking.exclude | tracking.personal | tracking.secret
    if unknown := sorted(named - known):
        raise ValueError(
            f"@track on {model.__name__} names unknown fields: {', '.join(unknown)}. The fields are: "
            f"{', '.join(sorted(known))}."
        )


def _observe_loading(model: Any, tracking: Tracking) -> None:
    from_db, refresh = model.from_db.__func__, model.refresh_from_db

    @functools.wraps(from_db)
    def observed_from_db(cls: Any, *args: Any, **kwargs: Any) -> Any:
        instance = from_db(cls, *args, **kwargs)
        set_loaded_values(instance, tracking.values(instance))
        return instance

    @functools.wraps(refresh)
    def observed_refresh(self: Any, *args: Any, **kwargs: Any) -> None:
        loaded = set(vars(self))
        refresh(self, *args, **kwargs)
        names = kwargs.get("fields") or (args[1] if len(args) > 1 else None)
        values = tracking.values(self)
        if names is not None:
            # Other fields may have unsaved values. A deferred field has just been loaded.
            fresh = {field.attname for field in self._meta.concrete_fields if {field.name, field.attname} & set(names)}
            values = {name: value for name, value in values.items() if name in fresh or name not in loaded}
        set_loaded_values(self, values)

    model.from_db = classmethod(observed_from_db)
    model.refresh_from_db = observed_refresh


def _observe_saving(model: Any, tracking: Tracking) -> None:
    save_base = model.save_base

    @functools.wraps(save_base)
    def observed_save_base(self: Any, raw: bool = False, *args: Any, **kwargs: Any) -> None:
        using = (
            kwargs.get("using")
            or (args[2] if len(args) > 2 else None)
            or router.db_for_write(type(self), instance=self)
        )
        update_fields = kwargs.get("update_fields") or (args[3] if len(args) > 3 else None)
        # A receiver of post_save may save the instance again.
        outer = vars(self).pop(_CREATED, None)
        # Without a transaction, Django commits the change before a receiver of post_save runs.
        with transaction.atomic(using=using, savepoint=False):
            save_base(self, raw, *args, **kwargs)
            is_new = vars(self).pop(_CREATED, False)
            if outer is not None:
                vars(self)[_CREATED] = outer
            if raw:
                return
            values = _record_saved(self, tracking, is_new=is_new, update_fields=update_fields, using=using)
        set_saved_values(self, values, using=using)

    def on_saved(instance: Model, created: bool, **kwargs: Any) -> None:
        # Django knows it: an instance with the key of a row is an update, one whose INSERT was rolled back is new.
        vars(instance)[_CREATED] = created

    model.save_base = observed_save_base
    _connect(post_save, on_saved, model)


def _record_saved(
    instance: Model, tracking: Tracking, *, is_new: bool, update_fields: Collection[str] | None, using: str
) -> dict[str, Any]:
    """Write the entry of a save, and return the written values."""
    values = tracking.values(instance)
    loaded = loaded_values(instance)
    if update_fields is not None:
        written = {
            field.attname
            for field in instance._meta.concrete_fields
            if field.name in update_fields or field.attname in update_fields
        }
        values = {name: value for name, value in values.items() if name in written}
    before = None if is_new else {name: loaded.get(name, "<not loaded>") for name in values}
    # Saved expressions such as F("count") + 1 have no value yet.
    changes = diff(before, values, secret=tracked_fields(type(instance), "secret"))
    if changes or is_new:
        _write(instance, tracking, "created" if is_new else "updated", changes, using)
    return values


def _observe_deletion(model: type[Model], tracking: Tracking) -> None:
    def on_deleted(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
        changes = diff(tracking.values(instance), None, secret=tracked_fields(type(instance), "secret"))
        _write(instance, tracking, "deleted", changes, using)

    _connect(post_delete, on_deleted, model)


def _connect(signal: ModelSignal, receiver: Callable[..., None], model: type[Model]) -> None:
    """Connect a receiver for the model and its proxies and children: signals name the class of the instance."""

    def connect(sender: type[Model], **kwargs: Any) -> None:
        if issubclass(sender, model) and not sender._meta.abstract:
            signal.connect(receiver, sender=sender, weak=False, dispatch_uid=("dovetail_audit", sender))

    connect(model)
    class_prepared.connect(connect, weak=False)


def _write(instance: Model, tracking: Tracking, verb: str, changes: Mapping[str, Any], using: str) -> None:
    public, personal = split(changes, tracked_fields(type(instance), "personal"))
    entry = build(f"{tracking.name}.{verb}", target=instance, changes=public, personal=personal)
    write([entry], using=using)
