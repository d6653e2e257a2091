"""Erase personal data from entries. The hashes cover only a salted commitment to it, so proofs remain valid."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import Model, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from dovetail_audit.conf import conf
from dovetail_audit.entries import databases
from dovetail_audit.entries.canonical import personal_of, rfc3339
from dovetail_audit.entries.principals import keys_of
from dovetail_audit.events import AUDIT_SUBJECT_ERASED
from dovetail_audit.models import PERSONAL, Entry
from dovetail_audit.reading.rows import batches
from dovetail_audit.sealing.storage import audit_storage, has_storage
from dovetail_audit.verification.rows import event_data
from dovetail_core.accounts import address_of, normalize_address
from dovetail_core.events import Event, emit
from dovetail_core.models import uuid7
from dovetail_core.secrets import keyed_hash, keyed_hashes

_PURPOSE: Final = "dovetail_audit.subject.1"
_FOLDER: Final = "erasures"
_ADDRESS: Final = re.compile(r"[^\s<>()\[\]\",;:=]+@[^\s<>()\[\]\",;:=]+")


@dataclass(frozen=True, slots=True)
class Erasure:
    """A recorded erasure: hashes of the subject, and its time. Entries that are newer are not affected."""

    subject_hashes: frozenset[str]
    at: datetime


def erase_subject(
    *, user: object = None, email: str | None = None, reason: str, actor: object = None, using: str | None = None
) -> int:
    """Erase the personal data of a person from all entries, and return the number of entries.

    ``user`` is a user or the primary key of one, ``email`` an address. A user's own address is erased too. Names,
    addresses, client address, user agent and ``personal`` of each entry become null, together with those of other
    people in the same entry. Keys of users remain.

    ``audit.subject_erased`` records the number, the reason, and a keyed hash of the subject. The hash is also saved in
    ``STORAGES[AUDIT_STORAGE]``, if that is configured, so that :func:`replay_erasures` can repeat the erasure after an
    older backup is restored. Raise ``ValueError`` without a subject or a reason.
    """
    subjects = _subjects(user, email)
    if not subjects:
        raise ValueError("Name the person by user or email.")
    if not reason.strip():
        raise ValueError("Give the reason of the erasure, such as 'request of 2026-01-31'.")
    using = using or databases.home()
    with transaction.atomic(using=using):
        entries = _candidates(subjects, using)
        count = _erase(entries, using, lambda entry: not subjects.isdisjoint(subjects_of(entry)))
        hashes = sorted(keyed_hash(_PURPOSE, subject) for subject in subjects)
        _record(hashes, count, reason, actor, using)
    return count


def replay_erasures(erasures: Iterable[Erasure] = (), *, using: str | None = None) -> int:
    """Repeat recorded erasures, after a backup from before them was restored. Return the number of entries.

    They are read from ``audit.subject_erased``, from ``STORAGES[AUDIT_STORAGE]``, and from ``erasures``.
    """
    using = using or databases.home()
    wanted: dict[str, datetime] = {}
    for erasure in (*_recorded(using), *_saved(), *erasures):
        for digest in erasure.subject_hashes:
            wanted[digest] = max(erasure.at, wanted.get(digest, erasure.at))
    known: dict[str, datetime | None] = {}

    def erased_at(subject: str) -> datetime | None:
        if subject not in known:
            known[subject] = next((wanted[item] for item in keyed_hashes(_PURPOSE, subject) if item in wanted), None)
        return known[subject]

    def applies(entry: Entry) -> bool:
        return any((limit := erased_at(subject)) is not None and entry.at <= limit for subject in subjects_of(entry))

    if not wanted:
        return 0
    with transaction.atomic(using=using):
        count = _erase(Entry._base_manager.using(using).filter(erased_at=None), using, applies)
        if count:
            _record([], count, "replay after a restored backup", None, using)
    return count


def parse_erasures(text: str) -> Iterator[Erasure]:
    """Yield the erasures in JSON lines of ``audit_export``, or of the files in the storage.

    Lines about other events are ignored. Raise ``ValueError`` for other text.
    """
    for line in filter(str.strip, text.splitlines()):
        document = json.loads(line)
        if not isinstance(document, Mapping):
            raise ValueError("Each line must be a JSON object, as audit_export writes it.")
        data = {**(document.get("extra") or {}), **(document.get("parameters") or {}), **document}
        if document.get("action", AUDIT_SUBJECT_ERASED) == AUDIT_SUBJECT_ERASED and "subject_hashes" in data:
            yield Erasure(frozenset(map(str, data["subject_hashes"])), datetime.fromisoformat(str(data["at"])))


def subjects_of(entry: Entry) -> set[str]:
    """Return the people whose personal data the entry holds, as ``user:<key>`` and ``email:<address>``."""
    subjects = {f"email:{normalize_address(item)}" for item in _addresses(list(personal_of(entry).values()))}
    if entry.actor_kind == Entry.ActorKind.USER:
        subjects.add(f"user:{entry.actor}")
    if entry.impersonator:
        subjects.add(f"user:{entry.impersonator}")
    if entry.target_kind.lower() == settings.AUTH_USER_MODEL.lower():
        subjects.add(f"user:{entry.target}")
    return subjects


def on_domain_event(event: Event, **kwargs: Any) -> None:
    """Erase the personal data of a deleted user, with ``AUDIT_ERASE_ON_USER_DELETED``."""
    if event.name != "user.deleted" or not conf.ERASE_ON_USER_DELETED:
        return
    user = event.data.get("user_id") or event.target
    email = address_of(event.target) if isinstance(event.target, Model) else None
    using = databases.alias_for(event.using)
    erase_subject(user=user, email=email or None, reason="user.deleted", actor=event.actor, using=using)


def _subjects(user: object, email: str | None) -> set[str]:
    subjects = {f"user:{key}" for key in keys_of(user) if key}
    for address in (email, address_of(user) if isinstance(user, Model) else None):
        if address and address.strip():
            subjects.add(f"email:{normalize_address(address)}")
    return subjects


def _candidates(subjects: Iterable[str], using: str) -> QuerySet[Entry]:
    """Return the entries that may be about one of the subjects, by what the database can search."""
    condition = Q(pk__in=[])
    for kind, _colon, value in (subject.partition(":") for subject in subjects):
        if kind == "user":
            condition |= Q(actor=value) | Q(impersonator=value)
            condition |= Q(target=value, target_kind__iexact=settings.AUTH_USER_MODEL)
        else:
            condition |= Q(actor_label__icontains=value) | Q(target_label__icontains=value)
            # SQLite and MariaDB hold JSON as text with escapes.
            condition |= Q(private_text__icontains=value) | Q(private_text__icontains=json.dumps(value)[1:-1])
    rows = Entry._base_manager.using(using).alias(private_text=Cast("private", TextField()))
    return rows.filter(condition, erased_at=None)


def _erase(rows: QuerySet[Entry], using: str, applies: Any) -> int:
    count, now = 0, timezone.now()
    nothing: dict[str, Any] = dict.fromkeys(PERSONAL)
    for batch in batches(rows):
        keys: list[UUID] = [entry.pk for entry in batch if applies(entry)]
        chosen = Entry._base_manager.using(using).filter(pk__in=keys, erased_at=None)
        count += chosen.update(**nothing, erased_at=now) if keys else 0
    return count


def _record(hashes: list[str], count: int, reason: str, actor: object, using: str) -> None:
    at = timezone.now()
    data = {"subject_hashes": hashes, "count": count, "reason": reason}
    emit(AUDIT_SUBJECT_ERASED, actor=actor, data=data, using=using)
    if hashes and has_storage():
        document = json.dumps({"subject_hashes": hashes, "count": count, "at": rfc3339(at)})
        name = f"{_FOLDER}/{uuid7()}.json"
        # After the commit, because a storage cannot roll back.
        transaction.on_commit(lambda: audit_storage().save(name, ContentFile(document.encode())), using=using)


def _recorded(using: str) -> Iterator[Erasure]:
    for batch in batches(Entry._base_manager.using(using).filter(action=AUDIT_SUBJECT_ERASED)):
        for entry in batch:
            yield Erasure(frozenset(event_data(entry).get("subject_hashes") or ()), entry.at)


def _saved() -> Iterator[Erasure]:
    if not has_storage():
        return
    storage = audit_storage()
    try:
        _folders, names = storage.listdir(_FOLDER)
    except FileNotFoundError:  # nothing was erased yet
        return
    for name in sorted(names):
        with storage.open(f"{_FOLDER}/{name}") as file:
            yield from parse_erasures(file.read().decode())


def _addresses(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from _ADDRESS.findall(value)
    elif isinstance(value, Mapping):
        for item in (*value.keys(), *value.values()):
            yield from _addresses(item)
    elif isinstance(value, list):
        for item in value:
            yield from _addresses(item)
