"""Write inbox and outbox rows for any number of recipients by ``INSERT … SELECT``.

Measured on SQLite for 100 000 recipients: ``bulk_create()`` took 12 s and 110 MB, this takes 1 s and 2 MB.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any, Final
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connections, router, transaction
from django.db.models import Case, DateTimeField, F, Manager, Model, Q, QuerySet, When
from django.utils import timezone

from dovetail_core.conf import cached_until_settings_change
from dovetail_core.models import uuid7
from dovetail_core.sql import Placeholder, once
from dovetail_notify.base import get_notification_model
from dovetail_notify.exceptions import ForeignRecipient
from dovetail_notify.models import Delivery, Mode
from dovetail_notify.outbox import runner
from dovetail_notify.send.audience import Audience, AudienceShape, Recipients
from dovetail_notify.send.preference_conditions import PreferenceConditions, without_preferences
from dovetail_notify.sql import InsertSelect, Values, as_expression, fetch, python_defaults
from dovetail_notify.transports import Transport, transport_for
from dovetail_notify.types import IN_APP, NotificationType, payloads

#: Names of values that are no columns. No field has such a name.
_LAST_KEY: Final = "last key"
_NEXT_HOUR: Final = "next hour"


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
    As after ``save()``, an error of the database in one of them lets the transaction only roll back.
    Raise ``TypeError`` or ``ValueError`` for invalid arguments, and ``ForeignRecipient`` without writing any row if a
    named recipient is not a member of the organization (``NOTIFY_MEMBERS``).
    """
    if not getattr(notification, "key", None) or not isinstance(notification, NotificationType):
        raise TypeError(f"notify() takes an instance of a NotificationType with a key; got {notification!r}.")
    alias = using or router.db_for_write(get_notification_model())
    message = _Message(notification, _key_text(organization) or None, _key_text(actor), _dedupe_key(dedupe))
    audience = Audience(to, organization_key=message.organization_key, using=alias)
    columns, kind, created = message.columns(), type(notification), 0
    # For few recipients, the database returns the keys of the new rows if it supports that.
    few = audience.has_few_keys and connections[alias].features.can_return_rows_from_bulk_insert
    if few:
        # Most users have no preferences, and PostgreSQL takes longer to plan statements that read them than to execute
        # them. These statements write nothing if there are any.
        conditions = without_preferences(kind, has_organization=message.organization_key is not None)
        created = _write(message, columns, audience, conditions, few=few)
    if not created:
        # Read before the transaction begins: SQLite refuses to write in a transaction whose earlier read is out of
        # date.
        conditions = PreferenceConditions.for_type(kind, message.organization_key, alias)
        created = _write(message, columns, audience, conditions, few=few)
    return Sent(message.batch, created, max(len(audience.named or ()) - created, 0))


def _write(
    message: _Message, columns: Mapping[str, Any], audience: Audience, conditions: PreferenceConditions, *, few: bool
) -> int:
    """Write the inbox and the outbox, announce the rows after commit, and return the number of inbox rows."""
    using, named = audience.using, audience.named or []
    plain = type(get_user_model()._base_manager) is Manager and _take_placeholders(columns)
    both = plain and once(_can_write_both, conditions, using=using)
    after, created = 0 if few or both else _last_key(using), 0
    values = {**columns, _NEXT_HOUR: message.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)}
    non_members: list[Hashable] = []
    # A savepoint costs two round trips. Only the rows of members beside a non-member have to be rolled back.
    with transaction.atomic(using=using, savepoint=audience.members is not None and len(named) > 1):
        for shape, recipients, querysets in audience.parts():
            if plain:
                statement = once(_compile, tuple(columns), shape, conditions, both, few, using=using)
            else:
                statement = _insert_inbox(columns, shape, conditions, using)
            if few:
                keys = statement.execute_returning_keys(using, {**values, **recipients}, querysets)
                created, after = len(keys), min(keys, default=1) - 1
            elif statement.has_second:
                number, lowest = statement.execute_returning_range(using, {**values, **recipients}, querysets)
                created, after = created + number, after if created else lowest - 1
            else:
                created += statement.execute(using, {**values, **recipients}, querysets)
        # Queried only if a recipient has no row, because it is a fifth statement.
        if created < len(named) and (created or not conditions.no_preferences):
            non_members = audience.non_members()
        if non_members and created:
            transaction.set_rollback(True, using=using)
        elif created:
            if not statement.has_second:
                _insert_deliveries(values, after, conditions, using)
            runner.schedule(after=after, batch=message.batch, recipients=audience.named, using=using)
    if non_members:
        raise ForeignRecipient(non_members)
    return created


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


def _compile(
    names: tuple[str, ...], audience: AudienceShape, conditions: PreferenceConditions, both: bool, few: bool, using: str
) -> InsertSelect:
    """Return the statement that writes the inbox, or ``both`` inbox and outbox."""
    model = get_notification_model()
    columns = {
        field.name: Placeholder(field.name, field) for field in model._meta.concrete_fields if field.name in names
    }
    inbox = _insert_inbox(columns, audience, conditions, using)
    if not both:
        return inbox
    recipient = connections[using].ops.quote_name(model._meta.get_field("recipient").column)
    outbox = _insert_outbox(conditions, model._base_manager.all(), using)
    return inbox.followed_by(outbox, recipient, returning_keys=few)


def _insert_inbox(
    columns: Mapping[str, Any], audience: AudienceShape, conditions: PreferenceConditions, using: str
) -> InsertSelect:
    users = audience.users(using)
    if conditions.no_preferences:
        users = users.filter(conditions.nobody_has_preferences(audience.keys()))
    receives = {channel: conditions.receives(channel, "pk") for channel, _ in conditions.channels}
    if all(receives.values()):  # an empty condition is true for every user
        users = users.filter(reduce(or_, receives.values(), Q()))
    columns = {**columns, "recipient": F("pk")}
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
    return InsertSelect(get_notification_model(), [(users, columns)], using, ignore_conflicts="dedupe_key" in columns)


def _can_write_both(conditions: PreferenceConditions, using: str) -> bool:
    """Return whether one statement can write inbox and outbox (see ``InsertSelect.followed_by()``)."""
    # A table name with quotes contains a schema, and a common table expression has none.
    qualified = '"' in get_notification_model()._meta.db_table
    connection = connections[using]
    supported = connection.vendor == "postgresql" and connection.features.can_return_rows_from_bulk_insert
    return supported and not qualified and _has_fixed_outbox(conditions)


def _insert_deliveries(values: Values, after: int, conditions: PreferenceConditions, using: str) -> None:
    if _has_fixed_outbox(conditions):
        statement = once(_compile_outbox, conditions, using=using)
    else:
        statement = _compile_outbox(conditions, using)
    statement.execute(using, {**values, _LAST_KEY: after}, {})


def _compile_outbox(conditions: PreferenceConditions, using: str) -> InsertSelect:
    model = get_notification_model()
    after, batch = Placeholder(_LAST_KEY, model._meta.pk), Placeholder("batch", model._meta.get_field("batch"))
    return _insert_outbox(conditions, model._base_manager.filter(pk__gt=after, batch=batch), using)


def _insert_outbox(conditions: PreferenceConditions, rows: QuerySet[Any], using: str) -> InsertSelect:
    """Return the statement that writes the deliveries of ``rows`` for every channel but the inbox."""
    parts = []
    for channel in _outbox_channels(conditions):
        eligible = transport_for(channel).eligible("recipient")
        recipients = rows.using(using).order_by().filter(conditions.receives(channel, "recipient"), eligible)
        columns = {"notification": F("pk"), "channel": channel, "attempts": 0, **_schedule(channel, conditions)}
        parts.append((recipients, columns | python_defaults(Delivery, columns)))
    return InsertSelect(Delivery, parts, using)


def _outbox_channels(conditions: PreferenceConditions) -> list[str]:
    return [channel for channel, _ in conditions.channels if channel != IN_APP]


def _has_fixed_outbox(conditions: PreferenceConditions) -> bool:
    channels = _outbox_channels(conditions)
    plain = type(get_notification_model()._base_manager) is Manager
    return plain and all(_has_fixed_condition(transport_for(channel)) for channel in channels)


def _has_fixed_condition(transport: Transport) -> bool:
    """Return whether ``eligible()`` is this package's own. A project's own may return another condition each time."""
    return f"{type(transport).eligible.__module__}.".startswith("dovetail_notify.transports.")


def _take_placeholders(columns: Mapping[str, Any]) -> bool:
    """Return whether all columns are plain values, whose fields need no more than a placeholder."""
    expressions = any(hasattr(value, "resolve_expression") for value in columns.values())
    return not expressions and _have_plain_placeholders(get_notification_model(), tuple(columns))


@cached_until_settings_change
def _have_plain_placeholders(model: type[Model], names: tuple[str, ...]) -> bool:
    fields = [model._meta.get_field(name) for name in names]
    return not any(hasattr(field, "get_placeholder") or hasattr(field, "get_placeholder_sql") for field in fields)


def _schedule(channel: str, conditions: PreferenceConditions) -> dict[str, Any]:
    """Return the expressions of the columns ``state``, ``digest`` and ``next_at``."""
    next_at = Delivery._meta.get_field("next_at")
    now, next_hour = Placeholder("created_at", next_at), Placeholder(_NEXT_HOUR, next_at)
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
