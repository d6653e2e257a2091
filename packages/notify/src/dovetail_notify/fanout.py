"""Writing inbox and outbox for any number of recipients by statements that the database runs by itself.

Measured on SQLite for 100 000: bulk_create took 12 s and 110 MB, this 1 s and 2 MB.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connections, router, transaction
from django.db.models import NOT_PROVIDED, Case, DateTimeField, F, Field, Max, Q, QuerySet, Value, When
from django.db.models.constants import OnConflict
from django.utils import timezone

from dovetail_core.fields import uuid7
from dovetail_notify import get_notification_model, hints, payloads
from dovetail_notify.audience import Audience, ForeignRecipient
from dovetail_notify.models import Delivery, Mode
from dovetail_notify.preferences import Choices, channels_of, required_channels
from dovetail_notify.transports import transport_for
from dovetail_notify.types import IN_APP, NotificationType


@dataclass(frozen=True, slots=True)
class Sent:
    """What ``notify`` did: the ``batch`` that its rows have in common, how many were ``created``, and how many of those
    recipients that were named one by one got none (inactive, unknown, told before, or nothing of it wanted)."""

    batch: UUID
    created: int
    skipped: int


@dataclass(frozen=True, slots=True)
class _Message:
    notification: NotificationType
    organization_key: str | None
    actor_key: str
    dedupe: str | None
    batch: UUID = field(default_factory=uuid7)
    now: datetime = field(default_factory=timezone.now)

    def columns(self) -> dict[str, Any]:
        """What is the same in every recipient's row."""
        rendered = self.notification.render()
        return {
            "organization_key": self.organization_key,
            "type": self.notification.key,
            "title": rendered.title,
            "body": rendered.body,
            "target_url": rendered.url,
            "payload": payloads.encode(self.notification),
            "payload_version": self.notification.version,
            "actor_key": self.actor_key,
            "collapse_key": payloads.clean(self.notification.collapse_key() or "")[:200],
            "batch": self.batch,
            "dedupe_key": self.dedupe,
            "created_at": self.now,
        }


def notify(notification: Any, *, to: Any, organization: Any, actor: Any, dedupe: str | None, using: str | None) -> Sent:
    """See ``dovetail_notify.notify``."""
    if not isinstance(notification, NotificationType) or not notification.key:
        raise TypeError(f"notify() takes an instance of a NotificationType with a key; got {notification!r}.")
    alias = using or router.db_for_write(get_notification_model())
    message = _Message(notification, _key(organization) or None, _key(actor), _dedupe(dedupe))
    audience = Audience(to, organization_key=message.organization_key, using=alias)
    # Read before the transaction begins: SQLite refuses to write in one that read first and was overtaken.
    choices = Choices(type(notification), message.organization_key, alias)
    after = _last_key(alias)
    with transaction.atomic(using=alias):
        created = sum(_insert_notifications(message, users, choices) for users in audience.querysets())
        named = len(audience.named or ())
        # Only where somebody got nothing: the statement that looks for strangers is the fifth.
        if created < named and (strangers := audience.foreign()):
            raise ForeignRecipient(strangers)
        if created:
            _insert_deliveries(message, after, choices)
            hints.schedule(after=after, batch=message.batch, recipients=audience.named, using=alias)
    return Sent(message.batch, created, max(named - created, 0))


def _key(value: Any) -> str:
    """An organization or a principal, or the key of one, as the text that rows have."""
    key = getattr(value, "pk", value)
    text = "" if key is None else str(key)
    if len(text) > 64 or text != payloads.clean(text):
        raise ValueError(f"A key has at most 64 characters, and no NUL; got {text[:80]!r}.")
    return text


def _dedupe(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= 150 or value != payloads.clean(value):
        raise ValueError(f"dedupe= takes a text of 1 to 150 characters; got {value!r}.")
    return value


def _last_key(using: str) -> Any:
    """What tells our rows by a range of the primary key: an index over batches would cost more than all else here."""
    rows = get_notification_model()._base_manager.using(using)
    return rows.aggregate(last=Max("pk"))["last"] or 0


def _insert_notifications(message: _Message, users: QuerySet[Any], choices: Choices) -> int:
    cls = type(message.notification)
    told = {channel: choices.told(channel, "pk") for channel in channels_of(cls)}
    if all(told.values()):
        users = users.filter(_any(told.values()))
    columns: dict[str, Any] = {name: value for name, value in message.columns().items() if value is not None}
    columns["recipient"] = F("pk")
    in_app = told.get(IN_APP)
    if in_app is None:
        muted: Any = Value(message.now, DateTimeField())
    elif in_app:
        # Not in the inbox, and there for the other channels to tell of.
        muted = Case(When(in_app, then=None), default=Value(message.now), output_field=DateTimeField(null=True))
    else:
        muted = None
    if muted is not None:
        columns |= {"read_at": muted, "archived_at": muted}
    if message.dedupe:
        # In one order: two that write the same rows wait for each other, and never in a ring.
        users = users.order_by("pk")
    return _insert_select(
        get_notification_model(), [(users, columns)], choices.using, ignore=message.dedupe is not None
    )


def _insert_deliveries(message: _Message, after: Any, choices: Choices) -> None:
    rows = (
        get_notification_model()._base_manager.using(choices.using).filter(pk__gt=after, batch=message.batch).order_by()
    )
    parts: list[tuple[QuerySet[Any], Mapping[str, Any]]] = []
    for channel in channels_of(type(message.notification)):
        if channel == IN_APP:
            continue
        told = rows.filter(choices.told(channel, "recipient"), transport_for(channel).eligible("recipient"))
        when = _when(message, channel, choices)
        parts.append((told, {"notification": F("pk"), "channel": channel, "attempts": 0, **when}))
    if parts:
        _insert_select(Delivery, parts, choices.using)


def _when(message: _Message, channel: str, choices: Choices) -> dict[str, Any]:
    """State, digest and time of a channel's deliveries."""
    default = choices.defaults[channel]
    modes = [mode for mode in (Mode.ON, Mode.HOURLY, Mode.DAILY) if mode != default]
    supported = transport_for(channel).supports_digest and channel not in required_channels(type(message.notification))
    first = default if supported and default != Mode.OFF else Mode.ON
    columns = {}
    for name in ("state", "digest", "next_at"):
        target: Any = Delivery._meta.get_field(name)
        usual = _first_look(first, message.now)[name]
        # Each set of people is a subquery more to make and to hash: one for all modes of one value, none for the usual.
        others: dict[Any, list[str]] = {}
        for mode in modes if supported else ():
            if (value := _first_look(mode, message.now)[name]) != usual:
                others.setdefault(value, []).append(mode)
        cases = [
            When(recipient__in=choices.choosers(channel, chosen), then=Value(value, target))
            for value, chosen in others.items()
        ]
        fallback = Value(usual, target)
        columns[name] = Case(*cases, default=fallback, output_field=target) if cases else fallback
    return columns


def _first_look(mode: str, now: datetime) -> dict[str, Any]:
    if mode not in (Mode.HOURLY, Mode.DAILY):
        return {"state": Delivery.State.PENDING, "digest": "", "next_at": now}
    # A daily one's hour is the person's own: the digest run, which can ask for their zone, moves it there.
    hour = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return {"state": Delivery.State.HELD, "digest": str(mode), "next_at": hour if mode == Mode.HOURLY else now}


def _any(conditions: Any) -> Q:
    found = Q()
    for condition in conditions:
        found |= condition
    return found


def _insert_select(
    model: Any, parts: list[tuple[QuerySet[Any], Mapping[str, Any]]], using: str, *, ignore: bool = False
) -> int:
    """``INSERT INTO model (…) SELECT … UNION ALL SELECT …``; how many rows there were. Only parameters, no values."""
    connection = connections[using]
    fields = [field for field in model._meta.concrete_fields if field.name in parts[0][1]]
    fields += [each for each in model._meta.concrete_fields if each not in fields and _needs_value(each)]
    selects, parameters = [], []
    for rows, columns in parts:
        named = {f"dovetail_{each.column}": _expression(each, columns) for each in fields}
        compiler = rows.annotate(**named).values_list(*named).query.get_compiler(using)
        with contextlib.suppress(EmptyResultSet):  # nobody, and Django knows it before the database
            sql, values = compiler.as_sql()
            selects.append(sql)
            parameters += values
    if not selects:
        return 0
    conflict = OnConflict.IGNORE if ignore else None
    quote = connection.ops.quote_name
    statement = " ".join(
        filter(
            None,
            (
                connection.ops.insert_statement(on_conflict=conflict),
                quote(model._meta.db_table),
                f"({', '.join(quote(each.column) for each in fields)})",
                " UNION ALL ".join(selects),
                connection.ops.on_conflict_suffix_sql(fields, conflict, [], []) if conflict else "",
            ),
        )
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return max(int(cursor.rowcount), 0)


def _needs_value(each: Field[Any, Any]) -> bool:
    """Of a column that a project added to the inbox, or one of ours with a default of Python's."""
    if each.primary_key or each.null or getattr(each, "generated", False):
        return False
    return getattr(each, "db_default", NOT_PROVIDED) is NOT_PROVIDED


def _expression(each: Field[Any, Any], columns: Mapping[str, Any]) -> Any:
    value = columns[each.name] if each.name in columns else each.get_default()
    return value if hasattr(value, "resolve_expression") else Value(value, output_field=each)
