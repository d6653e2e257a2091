"""Writing inbox and outbox rows for any number of recipients with statements that run inside the database.

Measured on SQLite for 100 000 recipients: ``bulk_create()`` took 12 s and 110 MB, this takes 1 s and 2 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
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
from dovetail_notify.send import after_commit
from dovetail_notify.send.audience import Audience, AudienceShape
from dovetail_notify.send.preference_conditions import ConditionsShape, PreferenceConditions
from dovetail_notify.sql.compiled import fetch
from dovetail_notify.sql.insert_select import InsertSelect, as_expression, python_defaults
from dovetail_notify.transports import Transport, transport_for
from dovetail_notify.types import IN_APP, NotificationType, payloads

#: Returns what a statement contains for a name and a field: the value, or a placeholder for it.
_ValueOf = Callable[[str, Any], Any]
_Values = Mapping[str, Any]
_QuerySets = Mapping[str, QuerySet[Any]]


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of ``notify()``.

    ``batch`` is the value that all its rows share, ``created`` the number of inbox rows. ``skipped`` counts the named
    recipients without a row: inactive or unknown users, repeated dedupe keys, and users who turned every channel off.
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
        """Return the columns that are the same in every recipient's row, including a project's own."""
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
        return columns | python_defaults(get_notification_model(), {**columns, "recipient": None})


def notify(
    notification: NotificationType,
    *,
    to: Any,
    organization: Any = None,
    actor: Any = None,
    dedupe: str | None = None,
    using: str | None = None,
) -> Sent:
    """Write a notification to the inbox of every recipient, and to the outbox for their other channels.

    ``to`` is a user, a user's key, an iterable of these, or a queryset of users. Inactive users are left out.
    ``organization`` is an organization or its key; ``actor`` is the user or principal who caused the notification.
    ``dedupe`` is a key of at most 150 characters: a recipient with a notification of that key gets no second one.
    ``using`` is the database alias of the inbox.

    Takes at most four statements for any number of recipients, in the caller's transaction; after a rollback nothing is
    sent. Raises ``TypeError`` or ``ValueError`` for arguments of the wrong form, and ``ForeignRecipient`` if a named
    recipient is not a member of the organization (``NOTIFY_MEMBERS``); then no row is written.
    """
    if not getattr(notification, "key", None) or not isinstance(notification, NotificationType):
        raise TypeError(f"notify() takes an instance of a NotificationType with a key; got {notification!r}.")
    alias = using or router.db_for_write(get_notification_model())
    message = _Message(notification, _key_text(organization) or None, _key_text(actor), _dedupe_key(dedupe))
    audience = Audience(to, organization_key=message.organization_key, using=alias)
    # Read before the transaction begins: SQLite refuses to write in a transaction whose earlier read is out of date.
    conditions = PreferenceConditions.for_type(type(notification), message.organization_key, alias)
    # For few recipients the database returns the keys of the new rows, if it can.
    if few := connections[alias].features.can_return_rows_from_bulk_insert and audience.few():
        conditions.check_recipients(few)
        after = None
    else:
        after = _last_key(alias)
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
        named = len(audience.named or ())
        # Only if a recipient has no row: the query for non-members is a fifth statement.
        if created < named and (non_members := audience.non_members()):
            raise ForeignRecipient(non_members)
        if created:
            _insert_deliveries(message, after, conditions)
            after_commit.schedule(after=after, batch=message.batch, recipients=audience.named, using=alias)
    return Sent(message.batch, created, max(named - created, 0))


def _key_text(value: Any) -> str:
    """Return an organization, a principal or the key of one as the text that rows store."""
    key = getattr(value, "pk", value)
    text = "" if key is None else str(key)
    if len(text) > 64 or text != payloads.clean(text):
        raise ValueError(f"A key has at most 64 characters, and no NUL; got {text[:80]!r}.")
    return text


def _dedupe_key(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= 150 or value != payloads.clean(value):
        raise ValueError(f"dedupe= takes a text of 1 to 150 characters; got {value!r}.")
    return value


def _last_key(using: str) -> Any:
    """Return the newest key: new rows are then found by a range of keys. An index on batches would cost much more."""
    newest = fetch(get_notification_model(), _newest_key, (), (), using=using)
    return newest[0][0] if newest else 0


def _newest_key() -> QuerySet[Any, Any]:
    return get_notification_model()._base_manager.order_by("-pk").values_list("pk")[:1]


def _inbox_statements(
    message: _Message, audience: Audience, conditions: PreferenceConditions
) -> Iterator[tuple[InsertSelect, _Values, _QuerySets]]:
    """Yield the statements that write the inbox, with their values; several only for very many keys."""
    columns, users = message.columns(), get_user_model()
    plain = type(users._base_manager) is Manager and _take_placeholders(columns)
    if plain and (compilable := audience.compilable()) is not None:
        names = tuple(columns)
        statement = once(_compile_inbox, names, compilable.shape, conditions.shape, using=conditions.using)
        yield statement, {**columns, **compilable.values}, compilable.querysets
    else:
        for rows in audience.querysets():
            yield _insert_inbox(columns, rows, conditions, _values(columns)), {}, {}


def _values(values: Mapping[str, Any]) -> _ValueOf:
    return lambda name, _: values[name]


def _compile_inbox(
    names: tuple[str, ...], audience: AudienceShape, conditions: ConditionsShape, using: str
) -> InsertSelect:
    with_placeholders = PreferenceConditions.with_placeholders(conditions, using)
    return _insert_inbox(names, audience.users(using), with_placeholders, Placeholder)


def _insert_inbox(
    names: Iterable[str], users: QuerySet[Any], conditions: PreferenceConditions, value_of: _ValueOf
) -> InsertSelect:
    """Return the statement that writes the rows of ``users`` with the named columns."""
    model = get_notification_model()
    columns = {name: value_of(name, model._meta.get_field(name)) for name in names}
    has_dedupe_key = "dedupe_key" in columns
    users, columns = _receiving_users(users, columns, conditions)
    if has_dedupe_key:
        # In a fixed order, so that two transactions that write the same rows wait for each other without a deadlock.
        users = users.order_by("pk")
    return InsertSelect(model, [(users, columns)], conditions.using, ignore_conflicts=has_dedupe_key)


def _receiving_users(
    users: QuerySet[Any], columns: dict[str, Any], conditions: PreferenceConditions
) -> tuple[QuerySet[Any], dict[str, Any]]:
    """Return the users who receive the type on any channel, and the columns of their rows."""
    receives = {channel: conditions.receives(channel, "pk") for channel in conditions.defaults}
    if all(receives.values()):
        users = users.filter(_any(receives.values()))
    field = DateTimeField(null=True)
    now = as_expression(columns["created_at"], field)
    in_app = receives.get(IN_APP)
    if in_app is None:
        hidden_at: Any = now
    elif in_app:
        # Without the inbox, the row still exists for the other channels; the inbox does not show it.
        hidden_at = Case(When(in_app, then=None), default=now, output_field=field)
    else:
        hidden_at = None
    if hidden_at is not None:
        columns |= {"read_at": hidden_at, "archived_at": hidden_at}
    return users, {**columns, "recipient": F("pk")}


def _insert_deliveries(message: _Message, after: Any, conditions: PreferenceConditions) -> None:
    model, channels = get_notification_model(), _outbox_channels(conditions)
    if not channels:
        return
    next_hour = message.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    values = {
        "type": message.notification.key,
        "organization_key": message.organization_key,
        "batch": message.batch,
        "after": after,
        "now": message.now,
        "next_hour": next_hour,
    }
    if type(model._base_manager) is Manager and all(_has_fixed_condition(transport_for(each)) for each in channels):
        statement = once(_compile_outbox, model, conditions.shape, using=conditions.using)
    else:
        statement = _insert_outbox(model, conditions, _values(values))
    statement.execute(conditions.using, values)


def _compile_outbox(model: Any, conditions: ConditionsShape, using: str) -> InsertSelect:
    return _insert_outbox(model, PreferenceConditions.with_placeholders(conditions, using), Placeholder)


def _insert_outbox(model: Any, conditions: PreferenceConditions, value_of: _ValueOf) -> InsertSelect:
    """Return the statement that writes the deliveries of a batch's rows for every channel but the inbox."""
    rows = model._base_manager.using(conditions.using).order_by()
    rows = rows.filter(
        pk__gt=value_of("after", model._meta.pk), batch=value_of("batch", model._meta.get_field("batch"))
    )
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
    """Return whether ``eligible()`` is this package's own. A project's may return another condition each time."""
    return type(transport).eligible.__module__.startswith("dovetail_notify.transports.")


def _take_placeholders(columns: Mapping[str, Any]) -> bool:
    """Return whether all columns are plain values; a project's field may need more than a placeholder."""
    fields = [get_notification_model()._meta.get_field(name) for name in columns]
    special = [hasattr(field, "get_placeholder") or hasattr(field, "get_placeholder_sql") for field in fields]
    return not any(special) and not any(hasattr(value, "resolve_expression") for value in columns.values())


def _schedule(channel: str, conditions: PreferenceConditions, value_of: _ValueOf) -> dict[str, Any]:
    """Return the state, digest and time of a channel's deliveries."""
    default = conditions.defaults[channel]
    modes = [mode for mode in (Mode.ON, Mode.HOURLY, Mode.DAILY) if mode != default]
    has_digests = transport_for(channel).supports_digest and channel not in conditions.required
    first = default if has_digests and default != Mode.OFF else Mode.ON
    columns = {}
    for name in ("state", "digest", "next_at"):
        target: Any = Delivery._meta.get_field(name)
        usual = _first_state(first, value_of)[name]
        # Every set of users is another subquery. So modes with the same value share one, and the default needs none.
        others: dict[Any, list[str]] = {}
        for mode in modes if has_digests and not conditions.no_preferences else ():
            if (value := _first_state(mode, value_of)[name]) != usual:
                others.setdefault(value, []).append(mode)
        cases = [
            When(recipient__in=conditions.users_with_mode(channel, chosen), then=as_expression(value, target))
            for value, chosen in others.items()
        ]
        fallback = as_expression(usual, target)
        columns[name] = Case(*cases, default=fallback, output_field=target) if cases else fallback
    return columns


def _first_state(mode: str, value_of: _ValueOf) -> dict[str, Any]:
    next_at = Delivery._meta.get_field("next_at")
    if mode not in (Mode.HOURLY, Mode.DAILY):
        return {"state": Delivery.State.PENDING, "digest": "", "next_at": value_of("now", next_at)}
    # A daily digest leaves at an hour of the user's own time zone; the first digest run moves the delivery to it.
    when = value_of("next_hour" if mode == Mode.HOURLY else "now", next_at)
    return {"state": Delivery.State.HELD, "digest": str(mode), "next_at": when}


def _any(conditions: Iterable[Q]) -> Q:
    union = Q()
    for condition in conditions:
        union |= condition
    return union
