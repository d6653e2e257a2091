"""Write inbox and outbox rows for any number of recipients by ``INSERT … SELECT``.

Measured on SQLite for 100 000 recipients: ``bulk_create()`` took 12 s and 110 MB, this takes 1 s and 2 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any, Final
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connections, router, transaction
from django.db.models import Case, DateTimeField, F, Manager, Q, QuerySet, When
from django.utils import timezone

from dovetail_core.models import uuid7
from dovetail_core.sql import Placeholder, once
from dovetail_notify.base import get_notification_model
from dovetail_notify.exceptions import ForeignRecipient
from dovetail_notify.models import Delivery, Mode
from dovetail_notify.outbox import runner
from dovetail_notify.send.audience import Audience, AudienceShape, Recipients
from dovetail_notify.send.preference_conditions import ConditionsShape, PreferenceConditions
from dovetail_notify.sql import InsertSelect, QuerySets, Values, as_expression, fetch, python_defaults
from dovetail_notify.transports import Transport, transport_for
from dovetail_notify.types import IN_APP, NotificationType, payloads

#: Up to this many named recipients, a query first checks whether any of them has a preference.
_FEW: Final = 64
#: Returns the value for a name and a field, or a placeholder for it.
_ValueOf = Callable[[str, Any], Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of ``notify()``.

    ``batch`` identifies its rows, and ``created`` is the number of inbox rows. ``skipped`` counts the named recipients
    without a row: inactive or unknown users, repeated dedupe keys, and users who turned off every channel.
    """

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
        """Return the columns that have the same value in every recipient's row, including a project's own columns."""
        notification, rendered = self.notification, self.notification.render()
        columns = {
            "organization_key": self.organization_key,
            "type": notification.key,
            "title": rendered.title,
            "body": rendered.body,
            "target_url": rendered.url,
            "payload": payloads.encode(notification),
            "payload_version": notification.version,
            "actor_key": self.actor_key,
            "collapse_key": payloads.clean(notification.collapse_key() or "")[:200],
            "batch": self.batch,
            "dedupe_key": self.dedupe,
            "created_at": self.now,
        }
        columns = {name: value for name, value in columns.items() if value is not None}
        return columns | python_defaults(get_notification_model(), {**columns, "recipient": None})


def notify(
    notification: NotificationType,
    *,
    to: Recipients,
    organization: object = None,
    actor: object = None,
    dedupe: str | None = None,
    using: str | None = None,
) -> Sent:
    """Write a notification to the inbox of every recipient, and to the outbox for their other channels.

    ``to`` is a user, a user's key, an iterable of these, or a queryset of users. Inactive users are left out.
    ``organization`` is an organization or its key; ``actor`` is the user or principal who caused the notification.
    ``dedupe`` is a key of at most 150 characters: each recipient gets only one notification with this key.
    ``using`` is the database alias of the inbox.

    Runs at most four statements for any number of recipients, in the caller's transaction; a rollback sends nothing.
    Raise ``TypeError`` or ``ValueError`` for invalid arguments, and ``ForeignRecipient`` without writing any row if a
    named recipient is not a member of the organization (``NOTIFY_MEMBERS``).
    """
    if not getattr(notification, "key", None) or not isinstance(notification, NotificationType):
        raise TypeError(f"notify() takes an instance of a NotificationType with a key; got {notification!r}.")
    alias = using or router.db_for_write(get_notification_model())
    message = _Message(notification, _key_text(organization) or None, _key_text(actor), _dedupe_key(dedupe))
    audience = Audience(to, organization_key=message.organization_key, using=alias)
    # Read before the transaction begins: SQLite refuses to write in a transaction whose earlier read is out of date.
    conditions = PreferenceConditions.for_type(type(notification), message.organization_key, alias)
    named = audience.named or []
    # For few recipients, the database returns the keys of the new rows if it supports that.
    few = 0 < len(named) <= _FEW and connections[alias].features.can_return_rows_from_bulk_insert
    if few:
        conditions.check_recipients(named)
    after = 0 if few else _last_key(alias)
    with transaction.atomic(using=alias):
        statements = _inbox_statements(message, audience, conditions)
        if few:
            keys = [
                key
                for statement, values, querysets in statements
                for key in statement.execute_returning_keys(alias, values, querysets)
            ]
            created, after = len(keys), min(keys, default=1) - 1
        else:
            created = sum(statement.execute(alias, values, querysets) for statement, values, querysets in statements)
        # Queried only if a recipient has no row, because it is a fifth statement.
        if created < len(named) and (non_members := audience.non_members()):
            raise ForeignRecipient(non_members)
        if created:
            _insert_deliveries(message, after, conditions)
            runner.schedule(after=after, batch=message.batch, recipients=audience.named, using=alias)
    return Sent(message.batch, created, max(len(named) - created, 0))


def _key_text(value: object) -> str:
    """Return the key of an organization or a principal, or the key that is passed, as the text that rows store."""
    key = getattr(value, "pk", value)
    text = "" if key is None else str(key)
    if len(text) > 64 or text != payloads.clean(text):
        raise ValueError(f"A key has at most 64 characters and no NUL; got {text[:80]!r}.")
    return text


def _dedupe_key(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= 150 or value != payloads.clean(value):
        raise ValueError(f"dedupe= must be a string of 1 to 150 characters; got {value!r}.")
    return value


def _last_key(using: str) -> int:
    """Return the newest key. New rows are found by a range of keys, because an index on batches would cost more."""
    newest = fetch(get_notification_model(), _newest_key, (), (), using=using)
    return newest[0][0] if newest else 0


def _newest_key() -> QuerySet[Any, Any]:
    return get_notification_model()._base_manager.order_by("-pk").values_list("pk")[:1]


def _inbox_statements(
    message: _Message, audience: Audience, conditions: PreferenceConditions
) -> Iterator[tuple[InsertSelect, Values, QuerySets]]:
    """Yield each statement that writes the inbox, with its values and querysets. Very many keys need several."""
    columns, using = message.columns(), conditions.using
    plain = type(get_user_model()._base_manager) is Manager and _take_placeholders(columns)
    for shape, values, querysets in audience.parts():
        if plain:
            statement = once(_compile_inbox, tuple(columns), shape, conditions.shape, using=using)
        else:
            statement = _insert_inbox(columns, shape.users(using), conditions, lambda name, _: columns[name])
        yield statement, {**columns, **values}, querysets


def _compile_inbox(
    names: tuple[str, ...], audience: AudienceShape, conditions: ConditionsShape, using: str
) -> InsertSelect:
    with_placeholders = PreferenceConditions.with_placeholders(conditions, using)
    return _insert_inbox(names, audience.users(using), with_placeholders, Placeholder)


def _insert_inbox(
    names: Iterable[str], users: QuerySet[Any], conditions: PreferenceConditions, value_of: _ValueOf
) -> InsertSelect:
    model = get_notification_model()
    columns = {name: value_of(name, model._meta.get_field(name)) for name in names}
    receives = {channel: conditions.receives(channel, "pk") for channel in conditions.defaults}
    if all(receives.values()):  # an empty condition is true for every user
        users = users.filter(reduce(or_, receives.values(), Q()))
    in_app = receives.get(IN_APP)
    if in_app is None or in_app:
        # Without the inbox, the row still exists for the other channels, but the inbox does not show it.
        field = DateTimeField(null=True)
        hidden_at = as_expression(columns["created_at"], field)
        if in_app:
            hidden_at = Case(When(in_app, then=None), default=hidden_at, output_field=field)
        columns |= {"read_at": hidden_at, "archived_at": hidden_at}
    if "dedupe_key" in columns:
        # In a fixed order, so that two transactions that write the same rows wait for each other without a deadlock.
        users = users.order_by("pk")
    columns["recipient"] = F("pk")
    return InsertSelect(model, [(users, columns)], conditions.using, ignore_conflicts="dedupe_key" in columns)


def _insert_deliveries(message: _Message, after: int, conditions: PreferenceConditions) -> None:
    channels = _outbox_channels(conditions)
    if not channels:
        return
    values = {
        "type": message.notification.key,
        "organization_key": message.organization_key,
        "batch": message.batch,
        "after": after,
        "now": message.now,
        "next_hour": message.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1),
    }
    plain = type(get_notification_model()._base_manager) is Manager
    if plain and all(_has_fixed_condition(transport_for(channel)) for channel in channels):
        statement = once(_compile_outbox, conditions.shape, using=conditions.using)
    else:
        statement = _insert_outbox(conditions, lambda name, _: values[name])
    statement.execute(conditions.using, values, {})


def _compile_outbox(conditions: ConditionsShape, using: str) -> InsertSelect:
    return _insert_outbox(PreferenceConditions.with_placeholders(conditions, using), Placeholder)


def _insert_outbox(conditions: PreferenceConditions, value_of: _ValueOf) -> InsertSelect:
    """Return the statement that writes the deliveries of a batch's rows for every channel but the inbox."""
    model = get_notification_model()
    after, batch = value_of("after", model._meta.pk), value_of("batch", model._meta.get_field("batch"))
    rows = model._base_manager.using(conditions.using).order_by().filter(pk__gt=after, batch=batch)
    parts = []
    for channel in _outbox_channels(conditions):
        eligible = transport_for(channel).eligible("recipient")
        recipients = rows.filter(conditions.receives(channel, "recipient"), eligible)
        schedule = _schedule(channel, conditions, value_of)
        columns = {"notification": F("pk"), "channel": channel, "attempts": 0, **schedule}
        parts.append((recipients, columns | python_defaults(Delivery, columns)))
    return InsertSelect(Delivery, parts, conditions.using)


def _outbox_channels(conditions: PreferenceConditions) -> list[str]:
    return [channel for channel in conditions.defaults if channel != IN_APP]


def _has_fixed_condition(transport: Transport) -> bool:
    """Return whether ``eligible()`` is this package's own. A project's own may return another condition each time."""
    return type(transport).eligible.__module__.startswith("dovetail_notify.transports.")


def _take_placeholders(columns: Mapping[str, Any]) -> bool:
    """Return whether all columns are plain values, whose fields need no more than a placeholder."""
    fields = [get_notification_model()._meta.get_field(name) for name in columns]
    special = [hasattr(field, "get_placeholder") or hasattr(field, "get_placeholder_sql") for field in fields]
    return not any(special) and not any(hasattr(value, "resolve_expression") for value in columns.values())


def _schedule(channel: str, conditions: PreferenceConditions, value_of: _ValueOf) -> dict[str, Any]:
    """Return the expressions of the columns ``state``, ``digest`` and ``next_at``."""
    next_at = Delivery._meta.get_field("next_at")
    now, next_hour = value_of("now", next_at), value_of("next_hour", next_at)
    values_by_mode = {
        Mode.ON: {"state": Delivery.State.PENDING, "digest": "", "next_at": now},
        Mode.HOURLY: {"state": Delivery.State.HELD, "digest": "hourly", "next_at": next_hour},
        # A daily digest is due at an hour of the user's time zone. The first run of send_digests() sets that time.
        Mode.DAILY: {"state": Delivery.State.HELD, "digest": "daily", "next_at": now},
    }
    default = Mode(conditions.defaults[channel])
    has_digests = transport_for(channel).supports_digest and channel not in conditions.required
    usual = values_by_mode[default if has_digests and default != Mode.OFF else Mode.ON]
    columns = {}
    for name, usual_value in usual.items():
        target: Any = Delivery._meta.get_field(name)
        # Every set of users is another subquery. So modes with the same value share one, and the default needs none.
        modes_by_value: dict[Any, list[str]] = {}
        if has_digests and not conditions.no_preferences:
            for mode, values in values_by_mode.items():
                if mode != default and values[name] != usual_value:
                    modes_by_value.setdefault(values[name], []).append(mode)
        cases = [
            When(recipient__in=conditions.users_with_mode(channel, modes), then=as_expression(value, target))
            for value, modes in modes_by_value.items()
        ]
        fallback = as_expression(usual_value, target)
        columns[name] = Case(*cases, default=fallback, output_field=target) if cases else fallback
    return columns
