"""Preferences as conditions on sets of users, so that a statement reads them once and not once per recipient.

A user's own preference overrides the organization's default, which overrides the type's default. Required channels
override all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, Self

from django.db.models import Exists, OuterRef, Q, QuerySet

from dovetail_core.sql import Placeholder, pad
from dovetail_notify.models import ANY, Mode, OrganizationPreference, Preference
from dovetail_notify.sql import fetch
from dovetail_notify.transports import available_channels, required_channels
from dovetail_notify.types import NotificationType


class ConditionsShape(NamedTuple):
    """Everything that the SQL of conditions depends on, apart from the values that have placeholders."""

    #: The name and default mode of each channel, and whether the type requires the channel.
    channels: tuple[tuple[str, str, bool], ...]
    #: The number of organization keys in the conditions.
    organizations: int
    no_preferences: bool


@dataclass(slots=True)
class PreferenceConditions:
    """The conditions under which the users of one organization receive one type on each channel."""

    type_key: str | Placeholder
    organization_keys: Sequence[str | Placeholder]
    #: The mode of each available channel for a user without preferences.
    defaults: Mapping[str, str]
    required: AbstractSet[str]
    using: str
    #: Whether the conditions leave out preferences, because no recipient has any.
    no_preferences: bool = False

    @classmethod
    def for_type(cls, notification: type[NotificationType], organization_key: str | None, using: str) -> Self:
        """Return the conditions of one type. Runs one query if an organization is given."""
        organization_keys = ("", organization_key) if organization_key else ("",)
        defaults = _default_modes(notification, organization_key, using)
        return cls(notification.key, organization_keys, defaults, required_channels(notification), using)

    @classmethod
    def with_placeholders(cls, shape: ConditionsShape, using: str) -> Self:
        """Return conditions of this shape with placeholders for ``type`` and ``organization_key``."""
        organization = Placeholder("organization_key", Preference._meta.get_field("organization_key"))
        return cls(
            type_key=Placeholder("type", Preference._meta.get_field("type")),
            organization_keys=("", organization)[: shape.organizations],
            defaults={channel: mode for channel, mode, _ in shape.channels},
            required={channel for channel, _, required in shape.channels if required},
            using=using,
            no_preferences=shape.no_preferences,
        )

    @property
    def shape(self) -> ConditionsShape:
        channels = tuple((channel, mode, channel in self.required) for channel, mode in self.defaults.items())
        return ConditionsShape(channels, len(self.organization_keys), self.no_preferences)

    def check_recipients(self, users: Sequence[Hashable]) -> None:
        """Set ``no_preferences`` if none of ``users``, the keys of all recipients, has one. Runs one indexed query.

        Most users have none, and PostgreSQL takes longer to plan the statements with preferences than to execute them.
        """
        keys = tuple(self.organization_keys)
        values = (("user", tuple(pad(users))), ("type", (self.type_key, ANY)), ("organization_key", keys))
        self.no_preferences = not fetch(Preference, _user_preferences, (), values, using=self.using)

    def users_with_mode(self, channel: str, modes: Collection[str]) -> QuerySet[Any]:
        """Return the keys of users whose most specific preference for the channel is one of ``modes``."""
        rows = Preference.objects.using(self.using).filter(
            channel=channel, type__in=(self.type_key, ANY), organization_key__in=self.organization_keys
        )
        more_specific = rows.filter(user=OuterRef("user"), specificity__gt=OuterRef("specificity"))
        return rows.filter(~Exists(more_specific), mode__in=modes).order_by().values("user")

    def receives(self, channel: str, field: str) -> Q:
        """Return the condition on ``field``, a user's key, under which the user receives the type on the channel."""
        if channel in self.required:
            return Q()
        if self.no_preferences:
            return Q(pk__in=()) if self.defaults[channel] == Mode.OFF else Q()
        if self.defaults[channel] == Mode.OFF:
            others = [mode for mode in Mode.values if mode != Mode.OFF]
            return Q(**{f"{field}__in": self.users_with_mode(channel, others)})
        return ~Q(**{f"{field}__in": self.users_with_mode(channel, [Mode.OFF])})


def _default_modes(cls: type[NotificationType], organization_key: str | None, using: str) -> dict[str, str]:
    modes: dict[str, str] = {c: Mode.ON if cls.channels[c] else Mode.OFF for c in available_channels(cls)}
    if organization_key:
        values = (("organization_key", organization_key), ("type", (ANY, cls.key)))
        rows = fetch(OrganizationPreference, _organization_preferences, (), values, using=using)
        # Preferences for this type come last, so that they replace those for all types.
        for _, channel, mode in sorted(rows, key=lambda row: row[0] != ANY):
            if channel in modes:
                modes[channel] = mode
    return modes | dict.fromkeys(required_channels(cls), Mode.ON)


def _organization_preferences(organization_key: object, types: Sequence[object]) -> QuerySet[Any, Any]:
    rows = OrganizationPreference.objects.filter(organization_key=organization_key, type__in=types)
    return rows.order_by().values_list("type", "channel", "mode")


def _user_preferences(
    users: Sequence[object], types: Sequence[object], organization_keys: Sequence[object]
) -> QuerySet[Any, Any]:
    rows = Preference.objects.filter(type__in=types, organization_key__in=organization_keys)
    # One comparison per user: Django does not accept expressions in an __in lookup of a foreign key.
    condition = reduce(or_, (Q(user=user) for user in users))
    return rows.filter(condition).order_by().values_list("pk")[:1]
