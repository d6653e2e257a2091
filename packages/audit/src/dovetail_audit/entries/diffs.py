"""What a change has changed: ``{field: [before, after]}``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from django.db.models import Model

from dovetail_audit.entries import canonical
from dovetail_audit.entries.redaction import CHANGED, PERSONAL

#: The attribute of a model that holds the arguments of ``@track``.
TRACKING: Final = "_dovetail_audit_tracking"

State = Model | Mapping[str, Any] | None


def diff(
    before: State, after: State, *, fields: Iterable[str] | None = None, secret: Collection[str] = ()
) -> dict[str, Any]:
    """Return the fields whose values differ, for ``record(changes=…)``.

    ``before`` and ``after`` are model instances or mappings; None stands for no object. ``fields`` defaults to all
    concrete fields (a foreign key by its column, such as ``owner_id``). Values that are not loaded are ignored, and no
    query is made. A field in ``secret``, here or in ``@track``, has ``"changed"`` instead of its values. Raises
    ``ValueError`` for a field that neither side has.

    Read the values of ``before`` before you change the object: ``before = copy.copy(invoice)``.
    """
    old, new = _values(before), _values(after)
    names = list(old | new) if fields is None else list(fields)
    known = {*old, *new, *_fields_of(before), *_fields_of(after)}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"Unknown fields: {', '.join(unknown)}. The fields are: {', '.join(sorted(known))}.")
    hidden = {*secret, *_secret_fields(before), *_secret_fields(after)}
    changes: dict[str, Any] = {}
    for name in names:
        # A value that is loaded on one side only is not a change.
        if (before is not None and name not in old) or (after is not None and name not in new):
            continue
        pair = [canonical.clean(old.get(name)), canonical.clean(new.get(name))]
        if pair[0] != pair[1] or old.get(name) != new.get(name):
            changes[name] = CHANGED if name in hidden else pair
    return changes


def split(changes: Mapping[str, Any], personal: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the changes with placeholders for personal fields, and the personal values by path."""
    public = {name: PERSONAL if name in personal else value for name, value in changes.items()}
    return public, {f"changes.{name}": value for name, value in changes.items() if name in personal}


def _values(state: State) -> dict[str, Any]:
    if state is None:
        return {}
    if isinstance(state, Model):
        loaded = vars(state)
        names = [field.attname for field in state._meta.concrete_fields]
        return {name: loaded[name] for name in names if name in loaded}
    return dict(state)


def _fields_of(state: State) -> set[str]:
    return {field.attname for field in state._meta.concrete_fields} if isinstance(state, Model) else set()


def _secret_fields(state: State) -> Collection[str]:
    return tracked_fields(state._meta.model, "secret") if isinstance(state, Model) else ()


def tracked_fields(model: type[Model], kind: str) -> frozenset[str]:
    """Return the names and columns of the fields that ``@track`` of the model declares ``secret`` or ``personal``."""
    names: frozenset[str] = getattr(getattr(model, TRACKING, None), kind, frozenset())
    return frozenset(
        name
        for field in model._meta.concrete_fields
        if not names.isdisjoint((field.name, field.attname))
        for name in (field.name, field.attname)
    )
