"""The rules that write flags. Each function is one transaction that locks the set of flags first.

So changes follow each other: of two with one version, the second sees the version of the first and fails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections, router, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from dovetail_core.models import uuid7
from dovetail_core.transactions import Vanished, lock, retry_on_conflict
from dovetail_flags import events
from dovetail_flags.base import DOCUMENT_FIELDS, AbstractFlag, get_flag_model
from dovetail_flags.exceptions import (
    Archived,
    Conflict,
    Gone,
    InvalidFlag,
    KeyTaken,
    Mistake,
    ToggleForbidden,
    TypeIsFixed,
    UnknownVersion,
)
from dovetail_flags.models import FlagRevision, FlagSet
from dovetail_flags.rules.fields import is_text, parsed, with_defaults, with_ids, writable_names
from dovetail_flags.rules.grammar import Mistakes, mistakes_in
from dovetail_flags.rules.operators import parse_time
from dovetail_flags.types.kinds import is_key

EXPORT_FORMAT: Final = "dovetail-flags/1"
_LONGEST_REASON: Final = 2000


def create_flag(
    *,
    key: str,
    type: str = "boolean",  # noqa: A002  # the name of the field
    actor: object = None,
    reason: str = "",
    may_toggle: bool = True,
    **fields: Any,
) -> Any:
    """Create a flag, and return it. ``fields`` are fields of the model, all of them optional for a boolean flag.

    A boolean flag has the variants ``on`` and ``off`` by default. ``off_variant`` defaults to ``off`` or the first
    variant, and ``default_variant``, which applies without a matching rule, to ``on`` or the last one. Flags are
    created disabled. Rules without an ``id`` get one.

    Raise ``InvalidFlag`` with all mistakes, or ``KeyTaken``. Without ``may_toggle``, raise ``ToggleForbidden`` for an
    enabled flag.
    """
    return _create({"key": key, "type": type, **fields}, may_toggle, actor, reason)


def update_flag(
    *,
    flag: AbstractFlag,
    version: int,
    changes: Mapping[str, Any],
    actor: object = None,
    reason: str = "",
    may_toggle: bool = True,
) -> Any:
    """Change fields of a flag, and return the changed flag. ``version`` is the one that the caller has read.

    A change without a difference is no new version. Raise ``Conflict`` if the flag has another version now;
    ``InvalidFlag`` with all mistakes; ``TypeIsFixed``, ``Archived`` or ``Gone``. Without ``may_toggle``, raise
    ``ToggleForbidden`` if the change enables or disables the flag.
    """
    return _update(flag.key, dict(changes), version, may_toggle, actor, reason)


def set_enabled(*, flag: AbstractFlag, enabled: bool, actor: object = None, reason: str = "") -> Any:
    """Enable or disable a flag, whatever its version: an emergency must not lose a race. Return the flag.

    A later ``update_flag`` with an earlier version raises ``Conflict``, so it cannot undo this by accident. Raise
    ``Archived`` or ``Gone``.
    """
    return _update(flag.key, {"enabled": enabled}, None, True, actor, reason)


@retry_on_conflict
def archive_flag(*, flag: AbstractFlag, actor: object = None, reason: str = "") -> Any:
    """Archive a flag: evaluations return the defaults of the code. Its key and history stay. Return the flag.

    Raise ``Gone``. Archiving twice changes nothing.
    """
    using = _using()
    with transaction.atomic(using=using):
        current = _locked(flag.key, using)
        if current.archived_at is None:
            before = current.document()
            current.archived_at = timezone.now()
            _save(current, before, events.FEATURE_ARCHIVED, actor, reason, using)
    return current


@retry_on_conflict
def revert_flag(
    *,
    flag: AbstractFlag,
    to_version: int,
    version: int | None = None,
    actor: object = None,
    reason: str = "",
    may_toggle: bool = True,
) -> Any:
    """Give a flag the content of an earlier version, as a new version. Return the flag.

    This also ends an archival that came later. ``version`` and ``may_toggle`` are those of ``update_flag``. Raise
    ``UnknownVersion``, ``Conflict``, ``InvalidFlag``, ``ToggleForbidden`` or ``Gone``.
    """
    using = _using()
    with transaction.atomic(using=using):
        current = _locked(flag.key, using, version)
        revisions = FlagRevision._base_manager.using(using)
        revision = revisions.filter(flag_key=current.key, version=to_version).first()
        if revision is None:
            raise UnknownVersion(current.key, to_version)
        before = current.document()
        values = {name: revision.snapshot[name] for name in DOCUMENT_FIELDS if name not in {"key", "type", "salt"}}
        _assign(current, parsed(values))
        current.archived_at = parse_time(values["archived_at"])
        _require_valid(current)
        _require_toggle(may_toggle, current, before["enabled"])
        _save(current, before, events.FEATURE_REVERTED, actor, reason, using)
    return current


class ImportResult(dict[str, str]):
    """What an import did, by key: ``created``, ``updated`` or ``unchanged``.

    ``other_states`` are the keys of flags that stayed enabled or disabled although the document differs.
    ``other_salts`` are those of flags with percentages that select other keys than in the document.
    """

    def __init__(self) -> None:
        super().__init__()
        self.other_states: list[str] = []
        self.other_salts: list[str] = []


def import_flags(*, document: Any, toggle: bool = False, actor: object = None, reason: str = "") -> ImportResult:
    """Create or update all flags of a document of :func:`export_flags`.

    Flags that the document lacks stay. Existing flags keep ``enabled``, unless ``toggle`` is true: an older export must
    not enable a flag that the kill switch has disabled since. They keep their salt, so that nobody's value changes. A
    new flag has the salt of the document, so that its percentages select the same keys.

    Raise ``InvalidFlag`` with all mistakes of all flags, or ``TypeIsFixed``; then nothing is changed.
    """
    mistakes = Mistakes()
    if not isinstance(document, Mapping) or document.get("format") != EXPORT_FORMAT:
        mistakes.report(["format"], "unknown_format", _("Must be “%s”.") % EXPORT_FORMAT)
    items = document.get("flags") if isinstance(document, Mapping) else None
    if not mistakes and not isinstance(items, list):
        mistakes.report(["flags"], "invalid_flags", _("Must be a list of flags."))
    if mistakes or not isinstance(items, list):
        raise InvalidFlag(mistakes)
    return _import(items, toggle, actor, reason)


def export_flags(*, using: str | None = None) -> dict[str, Any]:
    """Return all flags that are not archived as a document of JSON values, in the order of their keys."""
    rows = get_flag_model()._base_manager.using(using or router.db_for_read(get_flag_model()))
    return {
        "format": EXPORT_FORMAT,
        "flags": [flag.document() for flag in rows.filter(archived_at=None).order_by("key")],
    }


def preview_flag(*, flag: AbstractFlag, changes: Mapping[str, Any]) -> Any:
    """Return the flag as it would be with the changes, without saving it. Raise ``InvalidFlag``."""
    model = type(flag)
    preview = model(**{field.attname: getattr(flag, field.attname) for field in model._meta.concrete_fields})
    _assign(preview, parsed(changes, writable_names(model) - {"key", "type", "salt"}))
    _require_valid(preview)
    return preview


@retry_on_conflict
def _create(values: dict[str, Any], may_toggle: bool, actor: object, reason: str) -> AbstractFlag:
    using = _using()
    with transaction.atomic(using=using):
        _lock_set(using)
        return _insert(values, may_toggle, actor, reason, using)


def _insert(values: dict[str, Any], may_toggle: bool, actor: object, reason: str, using: str) -> AbstractFlag:
    model = get_flag_model()
    flag = model(**with_defaults(parsed(values, writable_names(model))))
    flag.rules = with_ids(flag.rules)
    _require_valid(flag)
    _require_toggle(may_toggle, flag, False)
    if model._base_manager.using(using).filter(key=flag.key).exists():
        raise KeyTaken(flag.key)
    # The history of a deleted flag with this key goes on.
    latest = FlagRevision._base_manager.using(using).filter(flag_key=flag.key).order_by("-version").first()
    flag.version = latest.version if latest else 0
    _save(flag, {}, events.FEATURE_CREATED, actor, reason, using)
    return flag


@retry_on_conflict
def _update(
    key: str, changes: dict[str, Any], version: int | None, may_toggle: bool, actor: object, reason: str
) -> AbstractFlag:
    using = _using()
    with transaction.atomic(using=using):
        current = _locked(key, using, version)
        if current.archived_at is not None:
            raise Archived(key)
        _apply(current, changes, may_toggle, actor, reason, using)
    return current


def _apply(
    current: AbstractFlag, changes: dict[str, Any], may_toggle: bool, actor: object, reason: str, using: str
) -> bool:
    """Change the fields of a locked flag. Return whether there is a difference."""
    if "type" in changes and changes["type"] != current.type:
        raise TypeIsFixed(current.key, current.type)
    before = current.document()
    changes = {name: value for name, value in changes.items() if name not in {"key", "type"}}
    values = parsed(changes, writable_names(type(current)) - {"salt"})
    present = {name: getattr(current, name) for name in values}
    _assign(current, values)
    different = {name for name, value in present.items() if _differs(getattr(current, name), value)}
    if not different:
        return False
    # A row that was stored without the services can break the grammar and still be evaluated. The kill switch must
    # disable it.
    if different != {"enabled"}:
        _require_valid(current)
    _require_toggle(may_toggle, current, before["enabled"])
    toggle = events.toggle(current)
    _save(current, before, toggle if different == {"enabled"} else events.FEATURE_UPDATED, actor, reason, using)
    return True


@retry_on_conflict
def _import(items: Sequence[Any], toggle: bool, actor: object, reason: str) -> ImportResult:
    using = _using()
    result = ImportResult()
    mistakes: list[Mistake] = []
    with transaction.atomic(using=using):
        _lock_set(using)
        for index, item in enumerate(items):
            try:
                _import_one(item, result, toggle, actor, reason, using)
            except InvalidFlag as error:
                mistakes += [
                    Mistake(f"/flags/{index}{mistake.pointer}", mistake.code, mistake.message)
                    for mistake in error.mistakes
                ]
        if mistakes:
            raise InvalidFlag(mistakes)
    return result


def _import_one(item: Any, result: ImportResult, toggle: bool, actor: object, reason: str, using: str) -> None:
    if not isinstance(item, Mapping):
        raise InvalidFlag([Mistake("", "not_an_object", _("Must be an object."))])
    values = {name: value for name, value in item.items() if name != "archived_at"}
    key = values.get("key")
    rows = get_flag_model()._base_manager.using(using)
    # MariaDB would return the flag of another spelling, and PostgreSQL refuses NUL.
    current = rows.filter(key=key).first() if is_key(key) else None
    if current is None:
        result[_insert(values, True, actor, reason, using).key] = "created"
        return
    if current.archived_at is not None:
        raise InvalidFlag([Mistake("/key", "archived", str(Archived(current.key)))])
    # A value that is no boolean remains, and is a mistake.
    keeps_state = not toggle and isinstance(values.get("enabled"), bool)
    fixed = {"key", "salt", "enabled"} if keeps_state else {"key", "salt"}
    changes = {name: value for name, value in values.items() if name not in fixed}
    changed = _apply(current, changes, True, actor, reason, using)
    result[current.key] = "updated" if changed else "unchanged"
    if values.get("enabled", current.enabled) != current.enabled:
        result.other_states.append(current.key)
    if _has_percentage(current.rules) and values.get("salt", current.salt) != current.salt:
        result.other_salts.append(current.key)


def _has_percentage(rules: Any) -> bool:
    # A row that was stored without the services may have anything.
    return isinstance(rules, list) and any(
        isinstance(rule, Mapping) and isinstance(rule.get("serve"), Mapping) for rule in rules
    )


def _using() -> str:
    return router.db_for_write(get_flag_model())


def _lock_set(using: str) -> None:
    """Let changes follow each other, also those that create flags."""
    rows = FlagSet._base_manager.using(using).filter(pk=1)
    try:
        lock(rows)
    except Vanished:
        rows.bulk_create([FlagSet(pk=1, token=uuid7())], ignore_conflicts=True)
        lock(rows)


def _locked(key: str, using: str, version: int | None = None) -> AbstractFlag:
    """Return the present flag, which no other transaction changes until this one ends."""
    _lock_set(using)
    rows = get_flag_model()._base_manager.using(using).filter(key=key)
    if connections[using].features.has_select_for_update:
        # Under REPEATABLE READ, another read returns the version that this transaction has seen before the lock.
        rows = rows.select_for_update()
    current: AbstractFlag | None = rows.first()
    if current is None:
        raise Gone(key)
    if version is not None and version != current.version:
        raise Conflict(current, version)
    return current


def _save(flag: AbstractFlag, before: Mapping[str, Any], event: str, actor: object, reason: str, using: str) -> None:
    """Store a new version and its revision, and emit the events. The signal of ``save()`` renews the token."""
    if not is_text(reason, _LONGEST_REASON):
        text = _("Must be a text of at most %(number)d characters, without NUL characters.")
        raise InvalidFlag([Mistake("/reason", "invalid_text", text % {"number": _LONGEST_REASON})])
    after = flag.document()
    changes = [name for name in DOCUMENT_FIELDS if before and _differs(before[name], after[name])]
    flag.version += 1
    flag.updated_at = timezone.now()
    # Forced, because save() would insert a row that was deleted without the services.
    flag.save(using=using, force_insert=not before, force_update=bool(before))
    FlagRevision._base_manager.using(using).create(
        flag_key=flag.key,
        version=flag.version,
        event=event,
        snapshot=after,
        changes=changes,
        actor_key="" if actor is None else str(getattr(actor, "pk", actor))[:200],
        reason=reason,
    )
    events.emit_flag(event, flag, actor=actor, changes=changes, reason=reason, using=using)
    # Also if the switch is part of a larger change: a receiver must not miss that a flag was disabled.
    if event != events.toggle(flag) and flag.enabled != before.get("enabled", False):
        events.emit_flag(events.toggle(flag), flag, actor=actor, changes=changes, reason=reason, using=using)


def _differs(value: object, other: object) -> bool:
    # As JSON, because 1 equals True; sorted, because PostgreSQL changes the order of members.
    texts = [json.dumps(item, sort_keys=True, cls=DjangoJSONEncoder) for item in (value, other)]
    return texts[0] != texts[1]


def _assign(flag: AbstractFlag, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(flag, name, with_ids(value) if name == "rules" else value)


def _require_toggle(may_toggle: bool, flag: AbstractFlag, before: bool) -> None:
    """Refuse a switch here and not in a view: only under the lock is it known what the change switches."""
    if not may_toggle and flag.enabled != before:
        raise ToggleForbidden(flag.key)


def _require_valid(flag: AbstractFlag) -> None:
    if mistakes := mistakes_in({name: getattr(flag, name) for name in DOCUMENT_FIELDS}):
        raise InvalidFlag(mistakes)
