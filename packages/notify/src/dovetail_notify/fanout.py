"""Writing inbox and outbox for any number of recipients by statements that the database runs by itself.

Measured on SQLite for 100 000: bulk_create took 12 s and 110 MB, this 1 s and 2 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connections, router, transaction
from django.db.models import Case, DateTimeField, F, Manager, Q, QuerySet, When
from django.utils import timezone

from dovetail_core.fields import uuid7
from dovetail_notify import get_notification_model, hints, payloads
from dovetail_notify.audience import Audience, ForeignRecipient
from dovetail_notify.insertion import Insertion, defaults, expression
from dovetail_notify.kept import Place, fetch, once
from dovetail_notify.models import Delivery, Mode
from dovetail_notify.preferences import Choices, channels_of, required_channels
from dovetail_notify.transports import Transport, transport_for
from dovetail_notify.types import IN_APP, NotificationType

#: What a statement has for a field, by a name: a value, or a place for one.
_At = Callable[[str, Any], Any]
_Values = Mapping[str, Any]
_Sets = Mapping[str, QuerySet[Any]]


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
        """What is the same in every recipient's row, where there is something; a project's own columns among it."""
        rendered = self.notification.render()
        columns = {
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
        columns = {name: value for name, value in columns.items() if value is not None}
        return columns | defaults(get_notification_model(), {**columns, "recipient": None})


def notify(notification: Any, *, to: Any, organization: Any, actor: Any, dedupe: str | None, using: str | None) -> Sent:
    """See ``dovetail_notify.notify``."""
    if not isinstance(notification, NotificationType) or not notification.key:
        raise TypeError(f"notify() takes an instance of a NotificationType with a key; got {notification!r}.")
    alias = using or router.db_for_write(get_notification_model())
    message = _Message(notification, _key(organization) or None, _key(actor), _dedupe(dedupe))
    audience = Audience(to, organization_key=message.organization_key, using=alias)
    # Read before the transaction begins: SQLite refuses to write in one that read first and was overtaken.
    choices = Choices(type(notification), message.organization_key, alias)
    # Of few the database says which rows it has made of them, where it can.
    if few := connections[alias].features.can_return_rows_from_bulk_insert and audience.few():
        choices.ask_of(few)
        after = None
    else:
        after = _last_key(alias)
    with transaction.atomic(using=alias):
        inbox = _inbox(message, audience, choices)
        if few:
            keys = [key for made, *given in inbox for key in made.keys(alias, *given)]
            created, after = len(keys), min(keys, default=1) - 1
        else:
            created = sum(made.execute(alias, *given) for made, *given in inbox)
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
    newest = fetch(get_notification_model(), _newest_first, (), (), using=using)
    return newest[0][0] if newest else 0


def _newest_first() -> QuerySet[Any, Any]:
    return get_notification_model()._base_manager.order_by("-pk").values_list("pk")[:1]


def _inbox(message: _Message, audience: Audience, choices: Choices) -> Iterator[tuple[Insertion, _Values, _Sets]]:
    """The statements that write it, each with what it is to be given; several only where one cannot name so many."""
    given, users = message.columns(), get_user_model()
    placed = audience.placed() if type(users._base_manager) is Manager and _have_places(given) else None
    if placed is not None:
        shape = ("inbox", users, choices.using, choices.shape, tuple(given), placed.shape)
        made = once(shape, lambda: _rows(given, placed.users(), choices.placed(), Place))
        yield made, {**given, **placed.values}, placed.sets
    else:
        for each in audience.querysets():
            yield _rows(given, each, choices, _of(given)), {}, {}


def _of(given: Mapping[str, Any]) -> _At:
    return lambda name, _: given[name]


def _rows(given: Mapping[str, Any], users: QuerySet[Any], choices: Choices, at: _At) -> Insertion:
    """The statement that writes the rows of ``users``, with what ``at`` says for each of the columns ``given``."""
    model = get_notification_model()
    columns = {name: at(name, model._meta.get_field(name)) for name in given}
    users, columns = _told(users, columns, choices)
    once_each = "dedupe_key" in given
    if once_each:
        # In one order: two that write the same rows wait for each other, and never in a ring.
        users = users.order_by("pk")
    return Insertion(model, [(users, columns)], choices.using, ignore=once_each)


def _told(users: QuerySet[Any], columns: dict[str, Any], choices: Choices) -> tuple[QuerySet[Any], dict[str, Any]]:
    """Those who hear of it at all, and what their rows have."""
    told = {channel: choices.told(channel, "pk") for channel in channels_of(choices.cls)}
    if all(told.values()):
        users = users.filter(_any(told.values()))
    field = DateTimeField(null=True)
    now = expression(columns["created_at"], field)
    in_app = told.get(IN_APP)
    if in_app is None:
        muted: Any = now
    elif in_app:
        # Not in the inbox, and there for the other channels to tell of.
        muted = Case(When(in_app, then=None), default=now, output_field=field)
    else:
        muted = None
    if muted is not None:
        columns |= {"read_at": muted, "archived_at": muted}
    return users, {**columns, "recipient": F("pk")}


def _insert_deliveries(message: _Message, after: Any, choices: Choices) -> None:
    model = get_notification_model()
    channels = [channel for channel in channels_of(choices.cls) if channel != IN_APP]
    hour = message.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    values = {
        "type": message.notification.key,
        "organization_key": message.organization_key,
        "batch": message.batch,
        "after": after,
        "now": message.now,
        "hour": hour,
    }

    def statement(choices: Choices, at: _At) -> Insertion:
        rows = model._base_manager.using(choices.using).order_by()
        rows = rows.filter(pk__gt=at("after", model._meta.pk), batch=at("batch", model._meta.get_field("batch")))
        parts = []
        for channel in channels:
            told = rows.filter(choices.told(channel, "recipient"), transport_for(channel).eligible("recipient"))
            columns = {"notification": F("pk"), "channel": channel, "attempts": 0, **_when(channel, choices, at)}
            parts.append((told, columns | defaults(Delivery, columns)))
        return Insertion(Delivery, parts, choices.using)

    if not channels:
        return
    if type(model._base_manager) is Manager and all(_asks_the_same(transport_for(channel)) for channel in channels):
        shape = ("outbox", model, choices.using, choices.shape)
        made = once(shape, lambda: statement(choices.placed(), Place))
    else:
        made = statement(choices, _of(values))
    made.execute(choices.using, values)


def _asks_the_same(transport: Transport) -> bool:
    """Whether who is eligible is asked by a condition of ours. A project's may be another one each time."""
    return type(transport).eligible.__module__.startswith("dovetail_notify.transports.")


def _have_places(given: Mapping[str, Any]) -> bool:
    """Whether all are values, of columns that take one by a placeholder alone; one of a project's may not."""
    fields = [get_notification_model()._meta.get_field(name) for name in given]
    special = [hasattr(each, "get_placeholder") or hasattr(each, "get_placeholder_sql") for each in fields]
    return not any(special) and not any(hasattr(value, "resolve_expression") for value in given.values())


def _when(channel: str, choices: Choices, at: _At) -> dict[str, Any]:
    """State, digest and time of a channel's deliveries."""
    default = choices.defaults[channel]
    modes = [mode for mode in (Mode.ON, Mode.HOURLY, Mode.DAILY) if mode != default]
    supported = transport_for(channel).supports_digest and channel not in required_channels(choices.cls)
    first = default if supported and default != Mode.OFF else Mode.ON
    columns = {}
    for name in ("state", "digest", "next_at"):
        target: Any = Delivery._meta.get_field(name)
        usual = _first_look(first, at)[name]
        # Each set of people is a subquery more to make and to hash: one for all modes of one value, none for the usual.
        others: dict[Any, list[str]] = {}
        for mode in modes if supported and not choices.nobody_chose else ():
            if (value := _first_look(mode, at)[name]) != usual:
                others.setdefault(value, []).append(mode)
        cases = [
            When(recipient__in=choices.choosers(channel, chosen), then=expression(value, target))
            for value, chosen in others.items()
        ]
        fallback = expression(usual, target)
        columns[name] = Case(*cases, default=fallback, output_field=target) if cases else fallback
    return columns


def _first_look(mode: str, at: _At) -> dict[str, Any]:
    next_at = Delivery._meta.get_field("next_at")
    if mode not in (Mode.HOURLY, Mode.DAILY):
        return {"state": Delivery.State.PENDING, "digest": "", "next_at": at("now", next_at)}
    # A daily one's hour is the person's own: the digest run, which can ask for their zone, moves it there.
    when = at("hour" if mode == Mode.HOURLY else "now", next_at)
    return {"state": Delivery.State.HELD, "digest": str(mode), "next_at": when}


def _any(conditions: Any) -> Q:
    found = Q()
    for condition in conditions:
        found |= condition
    return found
